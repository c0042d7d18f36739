"""The tree of subscriptions and the tree of retained messages, against the plain rule of `models.topics`."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from broker.access import Claims, Role
from broker.embedded.holds import Hold
from broker.embedded.limits import Limits
from broker.embedded.messages import Message, string
from broker.embedded.retained import Retained
from broker.embedded.routing import Router
from models import topics

LEVELS = st.sampled_from(["a", "b", "presence", "state", ""])
TOPICS = st.lists(LEVELS, min_size=1, max_size=5).map(lambda levels: "/".join(["company", *levels]))
FILTERS = st.lists(st.one_of(LEVELS, st.just("+")), max_size=4).flatmap(
    lambda levels: st.sampled_from(["/".join(["company", *levels]), "/".join(["company", *levels, "#"])])
)


class Nobody:
    """A subscriber that only has a role."""

    local = False

    def __init__(self, role: Role, company: str = "a") -> None:
        self.claims = Claims(company, "u", role, datetime.max.replace(tzinfo=UTC))
        self.filters: dict[str, int] = {}

    def offer(self, message: Message, qos: int, hold: Hold | None) -> None:
        raise AssertionError((message, qos, hold))


def message(topic: str, payload: bytes = b"x") -> Message:
    return Message(topic, string(topic), payload, 1)


@given(st.lists(st.tuples(FILTERS, st.integers(0, 2)), max_size=8), st.lists(st.integers(0, 7), max_size=5), TOPICS)
def test_a_subscriber_gets_a_topic_once_at_the_highest_qos_of_its_filters(
    subscriptions: list[tuple[str, int]], removed: list[int], topic: str
) -> None:
    router, subscriber, current = Router(), Nobody(Role.SERVICE), dict[str, int]()
    for pattern, qos in subscriptions:
        router.subscribe(subscriber, pattern, qos)
        current[pattern] = qos
        router.route(topic)
    for place in removed:
        if place < len(subscriptions):
            router.unsubscribe(subscriber, subscriptions[place][0])
            current.pop(subscriptions[place][0], None)
    expected = [qos for pattern, qos in current.items() if topics.matches(pattern, topic)]
    targets = router.route(topic).targets
    assert [target.qos for target in targets] == ([max(expected)] if expected else [])
    assert router.subscriptions == len(current)


def test_a_route_names_only_those_who_may_receive() -> None:
    router, stranger, own = Router(), Nobody(Role.DASHBOARD, "other"), Nobody(Role.DASHBOARD, "acme")
    for subscriber in (stranger, own):
        router.subscribe(subscriber, "company/#", 1)
    assert [target.subscriber for target in router.route("company/acme/state/u").targets] == [own]


def test_only_the_service_at_qos_1_consumes_and_only_what_devices_say() -> None:
    router, service, lazy, screen = Router(), Nobody(Role.SERVICE), Nobody(Role.SERVICE), Nobody(Role.DASHBOARD)
    for subscriber, qos in ((service, 1), (lazy, 0), (screen, 1)):
        router.subscribe(subscriber, "company/a/#", qos)
    route = router.route("company/a/presence/u")
    assert [target.subscriber for target in route.targets if target.consumes] == [service]
    assert (route.consumers, route.stored) == (1, True)
    assert not router.route("company/a/state/u").stored
    assert router.route("company/a/state/u").consumers == 0


@given(st.lists(st.tuples(TOPICS, st.booleans()), max_size=10), FILTERS)
def test_a_filter_selects_the_newest_retained_message_of_each_of_its_topics(
    puts: list[tuple[str, bool]], pattern: str
) -> None:
    retained, current = Retained(Limits()), dict[str, Message]()
    for topic, empty in puts:
        each = message(topic, b"" if empty else b"x")
        assert retained.put(each)
        if empty:
            current.pop(topic, None)
        else:
            current[topic] = each
    expected = {topic: each for topic, each in current.items() if topics.matches(pattern, topic)}
    assert {each.topic: each for each in retained.select(pattern)} == expected
    assert retained.count == len(current)


def test_a_filter_of_thousands_of_levels_is_no_recursion() -> None:
    router, subscriber = Router(), Nobody(Role.SERVICE)
    deep = "/".join(["company"] + ["x"] * 30_000)
    router.subscribe(subscriber, deep, 1)
    assert len(router.route(deep).targets) == 1
    router.unsubscribe(subscriber, deep)
    assert router.route(deep).targets == ()
