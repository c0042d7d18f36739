"""Who may connect, publish, subscribe and receive: the table of cases, and what holds for all topics."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import access
from broker.access import Claims, Role
from models import topics
from models.topics import Channel
from tests.policy_cases import CASES, NO_FILTERS, WHO, Access, Case

FAR = datetime(2100, 1, 1, tzinfo=UTC)
ALICE = Claims("acme", "alice", Role.DEVICE, FAR)
BOSS = Claims("acme", "boss", Role.DASHBOARD, FAR)
SERVICE = Claims("ops", "ingest", Role.SERVICE, FAR)
QUESTIONS = {
    Access.CONNECT: access.may_connect,
    Access.PUBLISH: access.may_publish,
    Access.SUBSCRIBE: access.may_subscribe,
    Access.RECEIVE: access.may_receive,
}
LEVELS = ["company", "acme", "other", "acme2", "presence", "state", "alice", "bob", "fieldbeat", "service", "$SYS", ""]
TOPICS = st.lists(st.sampled_from(LEVELS), min_size=1, max_size=6).map("/".join)
FILTERS = st.lists(st.sampled_from([*LEVELS, "+", "#", "$share", "g"]), min_size=1, max_size=7).map("/".join)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_case_of_the_table_is_answered_as_it_says(case: Case) -> None:
    assert QUESTIONS[case.access](WHO[case.who], case.topic) is case.answer


@pytest.mark.parametrize("claims", [ALICE, BOSS, SERVICE], ids=lambda claims: str(claims.role))
@pytest.mark.parametrize(
    "pattern", [*NO_FILTERS, "$share//company/acme/#", "$share/a+/company/acme/#", "$share/#/company/acme/#"]
)
def test_nobody_may_subscribe_to_what_is_no_filter(claims: Claims, pattern: str) -> None:
    assert not access.may_subscribe(claims, pattern)


@settings(max_examples=40, deadline=None)
@given(FILTERS, TOPICS)
def test_what_a_device_or_a_dashboard_may_subscribe_to_selects_only_what_it_may_receive(
    pattern: str, topic: str
) -> None:
    for claims in (ALICE, BOSS):
        inner = pattern.split("/", 2)[2] if pattern.startswith("$share/") and pattern.count("/") > 1 else pattern
        parent = topic == "company/acme"  # nobody may publish there
        if access.may_subscribe(claims, pattern) and topics.matches(inner, topic) and not parent:
            assert access.may_receive(claims, topic)


@settings(max_examples=40, deadline=None)
@given(TOPICS)
def test_a_device_publishes_on_its_own_three_topics_only(topic: str) -> None:
    own = {f"company/acme/{channel}/alice" for channel in topics.FROM_DEVICES}

    assert access.may_publish(ALICE, topic) is (topic in own)
    assert not access.may_publish(BOSS, topic)


@settings(max_examples=40, deadline=None)
@given(TOPICS)
def test_nothing_of_another_company_is_ever_received(topic: str) -> None:
    company = topic.split("/")[1:2]

    for claims in (ALICE, BOSS):
        if access.may_receive(claims, topic):
            assert company == ["acme"] or topic == topics.SERVICE


def test_a_will_is_asked_the_same_as_any_message() -> None:
    assert access.may_publish(ALICE, topics.address("acme", Channel.PRESENCE, "alice").topic)
    assert not access.may_publish(ALICE, topics.address("acme", Channel.PRESENCE, "bob").topic)
    assert not access.may_publish(ALICE, topics.address("acme", Channel.STATE, "alice").topic)


def test_no_company_of_the_services_name_can_take_over_a_session_of_the_service() -> None:
    for role in (Role.DEVICE, Role.DASHBOARD):
        assert not access.may_connect(Claims("fieldbeat", "ingest", role, FAR), "fieldbeat:ingest")
    assert access.may_connect(Claims("fieldbeat", "ingest", Role.SERVICE, FAR), "fieldbeat:ingest")


def test_a_dashboard_may_leave_its_client_id_to_the_broker() -> None:
    assert access.may_connect(BOSS, "")
    assert not access.may_connect(ALICE, "")


def test_the_service_publishes_to_no_filter() -> None:
    assert not access.may_publish(SERVICE, "company/acme/state/+")
    assert not access.may_publish(SERVICE, "company/#")
