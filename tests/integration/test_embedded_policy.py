"""The table of policy cases against a real embedded broker: who gets in, and who hears whom."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.access import Claims
from tests.integration.embedded_lab import Lab, running
from tests.integration.raw_mqtt import Packet, RawClient, publish, subscribe
from tests.policy_cases import CASES, CLIENT_ID, WHO, Access, Case

_CONNECTS = [case for case in CASES if case.access is Access.CONNECT]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running() as lab:
        yield lab


def _connect(lab: Lab, who: str, client_id: str = "") -> RawClient:
    claims: Claims = WHO[who]
    presented = lab.token(claims.user, claims.company, claims.role)
    return lab.connect(client_id or CLIENT_ID[who], claims.user, presented)


def _accepted(lab: Lab, who: str) -> RawClient:
    client = _connect(lab, who)
    assert client.answer() == Packet(0x20, b"\x00\x00")
    return client


def _cases(who: str, access: Access) -> list[Case]:
    return [case for case in CASES if case.who == who and case.access is access]


@pytest.mark.parametrize("case", _CONNECTS, ids=str)
def test_the_embedded_broker_lets_in_whom_the_table_lets_in(lab: Lab, case: Case) -> None:
    client = _connect(lab, case.who, case.topic)
    assert client.answer() == Packet(0x20, bytes((0, 0 if case.answer else 5)))
    client.close()


@pytest.mark.parametrize("who", WHO)
def test_the_embedded_broker_grants_what_the_table_says(lab: Lab, who: str) -> None:
    client = _accepted(lab, who)
    for number, case in enumerate(_cases(who, Access.SUBSCRIBE), start=1):
        client.send(subscribe(number, (case.topic, 1)))
        suback = client.answer()
        assert suback is not None
        # It speaks MQTT 3.1.1, which knows no shared subscriptions.
        granted = case.answer and not case.topic.startswith("$share/")
        assert suback.body == number.to_bytes(2, "big") + (b"\x01" if granted else b"\x80"), str(case)


@pytest.mark.parametrize("who", WHO)
def test_the_embedded_broker_takes_what_the_table_says_and_acknowledges_all(lab: Lab, who: str) -> None:
    client = _accepted(lab, who)
    for number, case in enumerate(_cases(who, Access.PUBLISH), start=1):
        before = lab.counters.dropped["forbidden"]
        client.send(publish(case.topic, b"said", 1, number))
        assert client.answer() == Packet(0x40, number.to_bytes(2, "big"))
        assert lab.counters.dropped["forbidden"] == before + (not case.answer), str(case)


@pytest.mark.parametrize("who", WHO)
def test_the_embedded_broker_delivers_what_the_table_says(lab: Lab, who: str) -> None:
    # Under a client id of its own: the service speaks here as well.
    listener, service = _accepted(lab, who), lab.service("speaker")
    allowed = [
        case.topic for case in _cases(who, Access.SUBSCRIBE) if case.answer and not case.topic.startswith("$share/")
    ]
    listener.send(subscribe(1, *((pattern, 1) for pattern in allowed)))
    assert listener.answer() is not None
    listener.fence()
    for case in _cases(who, Access.RECEIVE):
        service.send(publish(case.topic, b"told", 1))
        assert service.answer() is not None
        told = {each.topic for each in listener.fence()}
        assert told == ({case.topic} if case.answer else set()), str(case)
