"""The plug-in in a real Mosquitto: who gets in, and who hears whom."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from broker.access import Claims, Role
from broker.tokens import Key, issue
from tests.integration.plugged import KEY, Plugged, plugged, token
from tests.integration.visitor import V4, V5, Received, Visitor
from tests.policy_cases import CASES, CLIENT_ID, WHO, Access, Case

_NOW = datetime.now(UTC)
BOTH = pytest.mark.parametrize("version", [V4, V5], ids=["MQTT 3.1.1", "MQTT 5"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugged]:
    with plugged(tmp_path_factory.mktemp("mosquitto")) as running:
        yield running


def _visitor(server: Plugged, who: str, version: MQTTProtocolVersion = V5, client_id: str | None = None) -> Visitor:
    claims = WHO[who]
    presented = token(claims.user, claims.role, claims.company)
    return Visitor(server.port, client_id or CLIENT_ID[who], claims.user, presented, version=version)


@BOTH
@pytest.mark.parametrize("case", [case for case in CASES if case.access is Access.CONNECT], ids=str)
def test_mosquitto_lets_in_whom_the_table_lets_in(server: Plugged, case: Case, version: MQTTProtocolVersion) -> None:
    with _visitor(server, case.who, version, case.topic) as visitor:
        assert visitor.code == (0 if case.answer else 0x87)  # paho shows CONNACK 5 of MQTT 3.1.1 as this, too


@BOTH
@pytest.mark.parametrize("who", WHO)
def test_mosquitto_takes_and_grants_what_the_table_says(
    server: Plugged, who: str, version: MQTTProtocolVersion
) -> None:
    with _visitor(server, who, version) as visitor:
        for case in CASES:
            if case.who == who and case.access is Access.SUBSCRIBE:
                assert visitor.subscribe(case.topic) is case.answer, str(case)
            if case.who == who and case.access is Access.PUBLISH and version == V5:  # MQTT 3.1.1 has no word for it
                assert visitor.publish(case.topic) is case.answer, str(case)


@BOTH
@pytest.mark.parametrize("who", WHO)
def test_mosquitto_delivers_what_the_table_says(server: Plugged, who: str, version: MQTTProtocolVersion) -> None:
    service = Visitor(server.port, "fieldbeat:speaker", "speaker", token("speaker", Role.SERVICE))
    with _visitor(server, who, version) as listener, service:
        for case in CASES:
            if case.who == who and case.access is Access.SUBSCRIBE and case.answer:
                listener.subscribe(case.topic)
        for case in CASES:
            if case.who == who and case.access is Access.RECEIVE:
                service.publish(case.topic, "told")
                service.publish("fieldbeat/service", "fence")
                told = {each.topic for each in _before_the_fence(listener)}
                assert told == ({case.topic} if case.answer else set()), str(case)


def _before_the_fence(listener: Visitor) -> Iterator[Received]:
    while (heard := listener.received()) is not None and heard.payload != "fence":
        yield heard


@BOTH
def test_only_what_a_device_may_publish_is_delivered(server: Plugged, version: MQTTProtocolVersion) -> None:
    cases = [case for case in CASES if case.who == "device" and case.access is Access.PUBLISH]
    with _visitor(server, "service") as service, _visitor(server, "device", version) as device:
        for pattern in ("company/#", "fieldbeat/#"):
            assert service.subscribe(pattern)
        for case in sorted(cases, key=lambda case: case.answer):
            device.publish(case.topic, "said")
        allowed = [case.topic for case in cases if case.answer]
        assert [service.received() for _ in allowed] == [Received(topic, "said") for topic in allowed]


@BOTH
def test_nothing_of_another_company_is_delivered(server: Plugged, version: MQTTProtocolVersion) -> None:
    with (
        Visitor(server.port, "spy", "spy", token("spy", Role.DASHBOARD, "other"), version=version) as spy,
        _visitor(server, "service") as service,
    ):
        service.publish("company/acme/state/alice", "retained", retain=True)
        for pattern in ("company/acme/#", "company/+/state/+", "#", "+/#", "$share/g/company/acme/#", "$share/g/#"):
            assert not spy.subscribe(pattern)
        assert spy.subscribe("fieldbeat/service")
        service.publish("company/acme/events/alice", "live")
        service.publish("fieldbeat/service", "last")
        assert spy.received() == Received("fieldbeat/service", "last")


@BOTH
def test_a_will_is_published_to_its_own_users_topic_and_to_no_other(
    server: Plugged, version: MQTTProtocolVersion
) -> None:
    with _visitor(server, "service") as service:
        assert service.subscribe("company/+/presence/+")
        for topic in ("company/acme/presence/bob", "company/acme/presence/alice"):
            with Visitor(
                server.port, "acme:alice", "alice", token("alice"), version=version, will=(topic, "gone")
            ) as device:
                device.drop()
        assert service.received() == Received("company/acme/presence/alice", "gone")


def _flawed() -> dict[str, str]:
    def raw(key: str | bytes = KEY.verifying, algorithm: str = "HS256", **changes: object) -> str:
        payload = {"sub": "alice", "companyId": "acme", "exp": _NOW + timedelta(hours=1), "iat": _NOW} | changes
        headers = {"kid": KEY.kid}
        return jwt.encode(
            {name: value for name, value in payload.items() if value is not None}, key, algorithm, headers
        )

    return {
        "of another secret": token("alice", key=Key.from_secret("x" * 40)),
        "with a forged kid": raw(b"x" * 40),
        "that has expired": token("alice", ttl_s=-5),
        "that is no token": "abc",
        "with a foreign character": "\u00e9" * 20,
        "without a signature": raw("", "none"),
        "of an algorithm not allowed": raw(algorithm="HS512", key=b"y" * 64),
        "without an end": raw(exp=None),
        "without a company": raw(companyId=None),
        "of an unknown role": raw(role="root"),
        "of another user": token("bob"),
        "of a user with a slash": raw(sub="a/b"),
        "over the maximum lifetime": raw(exp=_NOW + timedelta(days=401)),
        "not valid yet": raw(nbf=_NOW + timedelta(hours=1)),
    }


@BOTH
def test_a_flawed_token_is_refused(server: Plugged, version: MQTTProtocolVersion) -> None:
    for flaw, presented in _flawed().items():
        with Visitor(server.port, "acme:alice", "alice", presented, version=version) as visitor:
            assert visitor.code == 0x87, flaw
    assert not any(presented in server.server.log for presented in _flawed().values() if len(presented) > 20)


@BOTH
def test_a_rewritten_username_without_its_session_is_refused(server: Plugged, version: MQTTProtocolVersion) -> None:
    with Visitor(server.port, "acme:alice", "device|acme|alice", token("alice"), version=version) as visitor:
        assert visitor.code == 0x87


@pytest.mark.parametrize("password", [None, ""])
def test_no_token_is_no_entry(server: Plugged, password: str | None) -> None:
    with Visitor(server.port, "acme:alice", "alice", password) as visitor:
        assert visitor.code == 0x87


def test_a_fraction_of_a_second_in_a_token_does_not_outlive_it(server: Plugged) -> None:
    claims = Claims("acme", "alice", Role.DEVICE, datetime.now(UTC) + timedelta(seconds=2), None)
    with Visitor(server.port, "acme:alice", "alice", issue(KEY, claims)) as visitor:
        assert visitor.accepted
        assert visitor.ended() == 0x98
