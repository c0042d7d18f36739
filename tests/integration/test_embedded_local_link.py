"""The link within the process: the promises of `broker.link`, and what only it can show."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC
from itertools import pairwise

import pytest

from broker.embedded import LocalLink
from broker.link import Delivery
from models import topics
from models.errors import BadTopic, LinkLost
from tests.integration.embedded_lab import PRESENCE, Lab, running
from tests.integration.raw_mqtt import Packet, publish, subscribe

STATE = "company/acme/state/alice"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running(hold_pubacks=True) as lab:
        yield lab


@pytest.fixture
def link(lab: Lab) -> Iterator[LocalLink]:
    link = LocalLink(lab.broker)
    yield link
    link.close()


def take(deliveries: Iterator[Delivery | None], count: int) -> list[Delivery]:
    """Return the next COUNT deliveries; fail when the link is idle for seconds before that."""
    taken: list[Delivery] = []
    deadline = time.monotonic() + 4
    while len(taken) < count:
        delivery = next(deliveries)
        if delivery is not None:
            taken.append(delivery)
        else:
            assert time.monotonic() < deadline, taken
    return taken


def test_a_device_is_acknowledged_when_the_delivery_is(lab: Lab, link: LocalLink) -> None:
    deliveries = link.deliveries(topics.INGEST_FILTERS, 5)
    device = lab.device()
    device.send(publish(PRESENCE, b"a", 1, 1), publish(PRESENCE, b"b", 1, 2))
    first, second = take(deliveries, 2)
    assert (first.topic, first.payload, first.retained) == (PRESENCE, b"a", False)
    assert device.answers() == []
    second.ack()
    first.ack()
    assert [device.answer(), device.answer()] == [Packet(0x40, b"\x00\x01"), Packet(0x40, b"\x00\x02")]
    assert lab.counters.held == 0


def test_times_of_receipt_are_aware_and_rise_strictly(lab: Lab, link: LocalLink) -> None:
    deliveries = link.deliveries(topics.INGEST_FILTERS, 5)
    lab.device().send(*(publish(PRESENCE, b"x", 1, each) for each in range(1, 301)))
    times = [each.received_at for each in take(deliveries, 300)]
    assert all(time.tzinfo is UTC for time in times)
    assert all(earlier < later for earlier, later in pairwise(times))


def test_an_idle_link_yields_none(link: LocalLink) -> None:
    deliveries = link.deliveries(topics.INGEST_FILTERS, 0.01)
    assert next(deliveries) is None
    assert next(deliveries) is None


def test_what_is_not_acknowledged_comes_again_first_and_in_order(lab: Lab, link: LocalLink) -> None:
    device = lab.device()
    deliveries = link.deliveries(topics.INGEST_FILTERS, 5)
    device.send(*(publish(PRESENCE, b"%d" % each, 1, each) for each in range(1, 5)))
    taken = take(deliveries, 3)
    taken[1].ack()
    device.send(publish(PRESENCE, b"5", 1, 5))
    device.fence()
    again = take(link.deliveries(topics.INGEST_FILTERS, 5), 4)
    assert [each.payload for each in again] == [b"1", b"3", b"4", b"5"]
    assert again[0].received_at == taken[0].received_at
    for each in again:
        each.ack()
    assert [device.answer() for _ in range(5)] == [Packet(0x40, bytes((0, each))) for each in range(1, 6)]


def test_what_a_closed_link_left_goes_to_the_next_one_whose_spell_is_resumed(lab: Lab) -> None:
    device = lab.device()
    device.send(publish(PRESENCE, b"before", 1, 1))
    device.fence()
    first = LocalLink(lab.broker)
    assert first.spell is not None
    assert not first.spell.resumed
    deliveries = first.deliveries(topics.INGEST_FILTERS, 5)
    device.send(publish(PRESENCE, b"lost", 1, 2))
    late, _ = take(deliveries, 2)
    first.close()
    assert list(deliveries) == []
    late.ack()
    assert device.answer() == Packet(0x40, b"\x00\x01")
    second = LocalLink(lab.broker)
    assert second.spell is not None
    assert second.spell.resumed
    again = take(second.deliveries(topics.INGEST_FILTERS, 5), 1)[0]
    assert again.payload == b"lost"
    again.ack()
    assert device.answer() == Packet(0x40, b"\x00\x02")
    second.close()


def test_retained_messages_come_first_and_are_marked(link: LocalLink) -> None:
    assert link.publish("company/acme/state/bob", b"kept", retain=True).wait(5)
    assert link.publish("company/acme/state/carol", b"", retain=True).wait(5)
    deliveries = link.deliveries(["company/+/state/+"], 5)
    kept = take(deliveries, 1)[0]
    link.publish(STATE, b"live")
    live = take(deliveries, 1)[0]
    assert [(each.payload, each.retained) for each in (kept, live)] == [(b"kept", True), (b"live", False)]


def test_what_the_link_publishes_reaches_dashboards_and_those_who_come_later(lab: Lab, link: LocalLink) -> None:
    dashboard = lab.dashboard()
    dashboard.send(subscribe(1, ("company/acme/#", 1)))
    dashboard.answer()
    confirmations = [link.publish(STATE, b"%d" % each, retain=True) for each in range(1200)]
    assert all(each.wait(5) for each in confirmations)
    assert [int(each.payload) for each in dashboard.messages(1200)] == list(range(1200))
    later = lab.dashboard("later")
    later.send(subscribe(1, ("company/acme/#", 1)))
    assert [(each.payload, each.retain) for each in later.messages(1)] == [(b"1199", True)]


def test_a_publish_that_cannot_be_queued_is_refused(lab: Lab) -> None:
    blocked = threading.Event()
    lab.broker.call(lambda: blocked.wait(5))
    link_capacity = 3
    blocked.set()
    link = LocalLink(lab.broker, capacity=link_capacity)
    busy = threading.Event()
    lab.broker.call(lambda: busy.wait(5))
    for _ in range(link_capacity):
        confirmation = link.publish(STATE, b"x")
    with pytest.raises(LinkLost):
        link.publish(STATE, b"x")
    assert not confirmation.wait(0.01)
    busy.set()
    assert confirmation.wait(5)
    with pytest.raises(BadTopic):
        link.publish("elsewhere", b"x")
    link.close()
    with pytest.raises(LinkLost):
        link.publish(STATE, b"x")


def test_close_ends_a_waiting_reader_and_lets_the_broker_take_what_is_queued(lab: Lab) -> None:
    link = LocalLink(lab.broker)
    received: list[Delivery | None] = []
    reader = threading.Thread(target=lambda: received.extend(link.deliveries(topics.INGEST_FILTERS, 60)), name="reader")
    reader.start()
    lab.wait(lambda counters: counters.subscriptions == 3)
    for number in range(100):
        link.publish(f"company/acme/state/u{number}", b"x", retain=True)
    link.close()
    link.close()
    reader.join(5)
    assert not reader.is_alive()
    assert lab.counters.retained == 100
    assert lab.counters.subscriptions == 0


def test_messages_at_qos_0_are_bounded_by_the_capacity(lab: Lab) -> None:
    link = LocalLink(lab.broker, capacity=10)
    deliveries = link.deliveries(topics.INGEST_FILTERS, 0.05)
    assert next(deliveries) is None
    device = lab.device()
    device.send(*(publish(PRESENCE, b"%d" % each) for each in range(30)))
    device.fence()
    assert lab.counters.dropped["queue_full"] == 20
    assert [each.payload for each in take(deliveries, 10)] == [b"%d" % each for each in range(10)]
    link.close()


def test_a_stopped_broker_has_no_spell_and_takes_nothing() -> None:
    with running() as lab:
        link = LocalLink(lab.broker)
        lab.broker.stop()
        assert link.spell is None
        with pytest.raises(LinkLost):
            link.publish(STATE, b"x")
        link.close()
        with pytest.raises(LinkLost):
            LocalLink(lab.broker)


def test_a_session_that_another_worker_left_behind_holds_nobody_up(lab: Lab, link: LocalLink) -> None:
    stray = lab.service("fieldbeat:ingest", clean=False)
    stray.send(subscribe(1, *((pattern, 1) for pattern in topics.INGEST_FILTERS)))
    assert stray.answer() is not None
    stray.close()
    deliveries = link.deliveries(topics.INGEST_FILTERS, 5)
    device = lab.device()
    device.send(publish(PRESENCE, b"a", 1, 1))
    take(deliveries, 1)[0].ack()
    assert device.answer() == Packet(0x40, b"\x00\x01")
