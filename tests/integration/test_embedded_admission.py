"""Who gets in, and that nobody who does not get in changes anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest

from broker.access import Role
from broker.tokens import Revocations
from tests.integration import raw_mqtt
from tests.integration.embedded_lab import OFFLINE, PRESENCE, Lab, now, running
from tests.integration.raw_mqtt import Packet, packet, publish, string, subscribe

ACCEPTED = Packet(0x20, b"\x00\x00")
NOT_AUTHORIZED = Packet(0x20, b"\x00\x05")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running(connect_timeout_s=1.0, sessions_per_user=4) as lab:
        yield lab


@pytest.mark.parametrize(
    ("client_id", "user", "lifetime_s"),
    [("acme:alice", "alice", -3), ("acme:alice", "bob", 60), ("acme:bob", "alice", 60), ("other:alice", "alice", 60)],
    ids=["expired", "another username", "client id of another user", "client id of another company"],
)
def test_a_connect_that_its_token_does_not_cover_is_answered_with_5(
    lab: Lab, client_id: str, user: str, lifetime_s: float
) -> None:
    client = lab.connect(client_id, user, lab.token("alice", lifetime_s=lifetime_s))
    assert client.answer() == NOT_AUTHORIZED
    assert client.ended()


@pytest.mark.parametrize(
    ("user", "token"), [(None, None), ("alice", None), ("alice", "nonsense"), ("alice", "é" * 9000)]
)
def test_a_connect_without_a_good_token_is_answered_with_5(lab: Lab, user: str | None, token: str | None) -> None:
    client = lab.raw()
    client.send(raw_mqtt.connect("acme:alice", user, token))
    assert client.answer() == NOT_AUTHORIZED
    assert client.ended()


def test_client_ids_of_the_service_belong_to_its_role(lab: Lab) -> None:
    assert lab.connect("fieldbeat:ingest", "alice", lab.token()).answer() == NOT_AUTHORIZED
    assert lab.connect("acme:alice", "svc", lab.token("svc", role=Role.SERVICE)).answer() == NOT_AUTHORIZED


def test_a_revoked_token_does_not_connect(lab: Lab) -> None:
    token = lab.token("rita")
    lab.revocations = Revocations(users={("acme", "rita"): now() + timedelta(seconds=1)})
    assert lab.connect("acme:rita", "rita", token).answer() == NOT_AUTHORIZED
    assert lab.counters.refused["revoked"] == 1


@pytest.mark.parametrize(
    "topic",
    [
        "company/acme/presence/bob",
        "company/other/presence/alice",
        "company/acme/state/alice",
        "$SYS/x",
        "fieldbeat/service",
    ],
)
def test_a_will_that_its_device_may_not_publish_is_refused_at_connect(lab: Lab, topic: str) -> None:
    client = lab.connect("acme:alice", "alice", lab.token(), will=(topic, b"forged", 1, True))
    assert client.answer() == NOT_AUTHORIZED
    assert client.ended()


@pytest.mark.parametrize(
    ("name", "level", "answer"),
    [
        ("MQTT", 5, Packet(0x20, b"\x00\x84\x00")),
        ("MQIsdp", 3, Packet(0x20, b"\x00\x01")),
        ("MQTT", 6, Packet(0x20, b"\x00\x01")),
    ],
)
def test_another_version_is_answered_at_once_in_its_own_form(lab: Lab, name: str, level: int, answer: Packet) -> None:
    client = lab.connect("acme:alice", "alice", lab.token(), protocol=name, level=level)
    assert client.answer() == answer
    assert client.ended()


def test_an_empty_client_id_gets_one_for_a_clean_session_only(lab: Lab) -> None:
    first = lab.connect("", "alice", lab.token())
    assert first.answer() == ACCEPTED
    assert lab.connect("", "alice", lab.token()).answer() == ACCEPTED
    first.send(publish(PRESENCE, b"", 1, 3))
    assert first.answer() == Packet(0x40, b"\x00\x03")
    assert lab.connect("", "alice", lab.token(), clean=False).answer() == Packet(0x20, b"\x00\x02")


@pytest.mark.parametrize(
    "data",
    {
        "random": os.urandom(64).replace(b"\x10", b"\x11"),
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "tls": bytes.fromhex("1603010200010001fc0303") + bytes(500),
        "publish": publish("a", b"b"),
        "ping": raw_mqtt.PING,
        "zeros": bytes(16),
        "too long": b"\x10\xff\xff\xff\x7f",
        "length of five digits": b"\x10\xff\xff\xff\xff\x01",
        "bad utf-8": packet(0x10, string("MQTT") + bytes((4, 2, 0, 60)) + string(b"\xff\xfe")),
        "nul": raw_mqtt.connect("a\0b"),
        "reserved flag": packet(0x10, string("MQTT") + bytes((4, 3, 0, 60)) + string("a")),
        "will qos 3": packet(0x10, string("MQTT") + bytes((4, 0x1E, 0, 60)) + string("a") + string("t") + string("m")),
        "will flags without will": packet(0x10, string("MQTT") + bytes((4, 0x0A, 0, 60)) + string("a")),
        "password without username": raw_mqtt.connect("a", None, "p"),
        "trailing bytes": packet(0x10, string("MQTT") + bytes((4, 2, 0, 60)) + string("a") + b"x"),
        "unknown protocol": raw_mqtt.connect("a", "u", "p", protocol="HTTP"),
        "no flags": packet(0x10, string("MQTT") + b"\x04"),
    }.items(),
    ids=lambda case: case[0],
)
def test_garbage_instead_of_a_connect_ends_the_connection_without_an_answer(lab: Lab, data: tuple[str, bytes]) -> None:
    client = lab.raw()
    client.send(data[1])
    assert client.ended()
    assert client.answer() is None


def test_a_socket_that_does_not_connect_is_closed_in_time(lab: Lab) -> None:
    idle, half = lab.raw(), lab.raw()
    half.send(raw_mqtt.connect("acme:alice", "alice", lab.token())[:8])
    assert idle.ended(3)
    assert half.ended(3)


@pytest.mark.parametrize("clean", [True, False])
def test_a_connect_with_a_bad_token_does_not_disturb_the_owner_of_its_client_id(lab: Lab, clean: bool) -> None:
    watcher = lab.service("watch", "company/acme/#")
    victim = lab.device("victim", clean=False, will=("company/acme/presence/victim", b"gone", 1, False))
    victim.send(subscribe(1, ("company/acme/state/victim", 1)))
    victim.answer()
    forged = ("company/acme/presence/ceo", b"forged", 1, True)
    for user, token in (("victim", "nonsense"), ("mallory", lab.token("mallory", "other"))):
        assert lab.connect("acme:victim", user, token, clean=clean, will=forged).answer() == NOT_AUTHORIZED
    victim.send(publish("company/acme/presence/victim", b"alive", 1, 5))
    assert victim.answer() == Packet(0x40, b"\x00\x05")
    watcher.send(publish("company/acme/state/victim", b"state", 1, 9))
    received = victim.message()
    assert received is not None
    assert received.payload == b"state"
    victim.abort()
    assert [each.payload for each in watcher.messages(3)] == [b"alive", b"state", b"gone"]
    again = lab.connect("acme:victim", "victim", lab.token("victim"))  # forget the session
    assert again.answer() == ACCEPTED


def test_a_session_is_not_resumed_by_another_owner_even_if_the_client_id_would_fit(lab: Lab) -> None:
    lab.dashboard("dana", client_id="wall-display", clean=False)
    token = lab.token("mallory", "other", Role.DASHBOARD)
    assert lab.connect("wall-display", "mallory", token, clean=False).answer() == NOT_AUTHORIZED
    assert lab.connect("wall-display", "mallory", token, clean=True).answer() == NOT_AUTHORIZED


def test_one_user_cannot_have_more_sessions_than_allowed_but_absent_ones_make_room(lab: Lab) -> None:
    for number in range(4):
        client = lab.device("sam", suffix=f":{number}", clean=number != 0)
        if number == 0:
            client.send(raw_mqtt.DISCONNECT)
            assert client.ended()
    lab.device("sam", suffix=":4")
    assert lab.connect("acme:sam:5", "sam", lab.token("sam")).answer() == Packet(0x20, b"\x00\x03")


def test_refused_connects_leave_nothing_behind(lab: Lab) -> None:
    before = lab.counters
    for number in range(200):
        assert lab.connect(f"acme:ghost:{number}", "ghost", "bad", will=OFFLINE).answer() == NOT_AUTHORIZED
    after = lab.counters
    assert after.sessions == before.sessions
    assert after.refused["credentials"] == before.refused["credentials"] + 200


def test_idle_strangers_make_room_for_those_who_connect() -> None:
    with running(unauthenticated=5) as lab:
        idle = [lab.raw() for _ in range(20)]
        lab.wait(lambda counters: counters.connections_total == 20)
        lab.device()
        assert lab.counters.refused["full"] >= 15
        assert sum(client.ended(0.2) for client in idle) >= 15


def test_a_full_broker_closes_what_is_too_much_at_once() -> None:
    with running(connections=2) as lab:
        lab.device("one")
        two = lab.device("two")
        assert lab.raw().ended()
        two.send(raw_mqtt.DISCONNECT)
        lab.wait(lambda counters: counters.connections_open == 1)
        lab.device("three")
