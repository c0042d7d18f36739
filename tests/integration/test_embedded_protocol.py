"""MQTT 3.1.1 on the wire: life cycle, wills, sessions, retained messages, and malformed packets."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from broker.access import Role
from broker.tokens import Revocations
from tests.integration import raw_mqtt
from tests.integration.embedded_lab import OFFLINE, PRESENCE, Lab, now, running
from tests.integration.raw_mqtt import DISCONNECT, Packet, Published, packet, publish, string, subscribe, unsubscribe

STATE = "company/acme/state/alice"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running() as lab:
        yield lab


@pytest.fixture
def watcher(lab: Lab) -> raw_mqtt.RawClient:
    """A service client that sees all of the company acme."""
    return lab.service("watcher", "company/acme/#")


def payloads(messages: list[Published]) -> list[bytes]:
    return [each.payload for each in messages]


# Delivery


@pytest.mark.parametrize("sent", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_a_message_is_delivered_at_the_lower_qos(lab: Lab, sent: int, granted: int) -> None:
    receiver = lab.service(f"q{granted}", ack=False)
    receiver.send(subscribe(1, ("company/+/state/#", granted)))
    assert receiver.answer() == Packet(0x90, bytes((0, 1, granted)))
    sender = lab.service("sender")
    sender.send(publish(STATE, b"x", sent, 5))
    message = receiver.message()
    assert message is not None
    assert (message.topic, message.payload, message.qos, message.retain) == (STATE, b"x", min(sent, granted), False)


@pytest.mark.parametrize("qos", [0, 1])
def test_all_of_a_burst_before_disconnect_arrives_in_order(lab: Lab, watcher: raw_mqtt.RawClient, qos: int) -> None:
    device = lab.device()
    device.send(*(publish(PRESENCE, b"%d" % number, qos, number + 1) for number in range(1000)), DISCONNECT)
    assert payloads(watcher.messages(1000)) == [b"%d" % number for number in range(1000)]


def test_a_qos_2_message_is_handed_on_once_however_often_it_is_repeated(lab: Lab, watcher: raw_mqtt.RawClient) -> None:
    device = lab.device(clean=False)
    device.send(publish(PRESENCE, b"once", 2, 7), publish(PRESENCE, b"once", 2, 7, dup=True))
    assert [device.answer(), device.answer()] == [Packet(0x50, b"\x00\x07")] * 2
    device.abort()
    again = lab.connect("acme:alice", "alice", lab.token(), clean=False)
    assert again.answer() == Packet(0x20, b"\x01\x00")
    again.send(publish(PRESENCE, b"once", 2, 7, dup=True), packet(0x62, b"\x00\x07"))
    assert [again.answer(), again.answer()] == [Packet(0x50, b"\x00\x07"), Packet(0x70, b"\x00\x07")]
    again.send(publish(PRESENCE, b"next", 2, 7))
    assert again.answer() == Packet(0x50, b"\x00\x07")
    assert payloads(watcher.fence()) == [b"once", b"next"]
    lab.device()


def test_a_qos_2_subscriber_gets_the_message_until_it_has_released_it(lab: Lab) -> None:
    receiver = lab.dashboard(clean=False)
    receiver.send(subscribe(1, (STATE, 2)))
    receiver.answer()
    lab.service("sender").send(publish(STATE, b"x", 2, 1))
    message = receiver.message()
    assert message is not None
    identifier = message.packet_id.to_bytes(2, "big")
    receiver.abort()
    again = lab.dashboard(clean=False)
    repeated = again.message()
    assert repeated is not None
    assert (repeated.payload, repeated.dup, repeated.packet_id) == (b"x", True, message.packet_id)
    again.send(packet(0x50, identifier))
    assert again.answer() == Packet(0x62, identifier)
    again.abort()
    third = lab.dashboard(clean=False)
    assert third.answer() == Packet(0x62, identifier)
    third.send(packet(0x70, identifier))
    assert third.fence() == []
    lab.dashboard()


def test_overlapping_filters_bring_one_copy_at_the_highest_qos(lab: Lab) -> None:
    receiver = lab.dashboard()
    receiver.send(subscribe(1, ("company/acme/#", 0), ("company/acme/state/+", 1), (STATE, 0)))
    receiver.answer()
    lab.service("sender").send(publish(STATE, b"x", 1, 1))
    message = receiver.message()
    assert message is not None
    assert message.qos == 1
    assert receiver.fence() == []


def test_a_second_subscription_to_the_same_filter_replaces_the_first(lab: Lab) -> None:
    receiver = lab.dashboard()
    receiver.send(subscribe(1, (STATE, 1)), subscribe(2, (STATE, 0)))
    assert [receiver.answer(), receiver.answer()] == [Packet(0x90, b"\x00\x01\x01"), Packet(0x90, b"\x00\x02\x00")]
    lab.service("sender").send(publish(STATE, b"x", 1, 1))
    message = receiver.message()
    assert message is not None
    assert message.qos == 0


def test_an_unsubscribed_filter_brings_nothing_more(lab: Lab) -> None:
    receiver = lab.dashboard()
    receiver.send(subscribe(1, (STATE, 0), ("company/acme/events/+", 0)), unsubscribe(2, STATE, "company/acme/nothing"))
    assert receiver.answer() == Packet(0x90, b"\x00\x01\x00\x00")
    assert receiver.answer() == Packet(0xB0, b"\x00\x02")
    sender = lab.service("sender")
    sender.send(publish(STATE, b"x", 1, 1), publish("company/acme/events/alice", b"y", 1, 2))
    sender.fence()
    assert payloads(receiver.fence()) == [b"y"]


# Policy


def test_what_a_client_may_not_publish_is_acknowledged_and_dropped(lab: Lab, watcher: raw_mqtt.RawClient) -> None:
    device = lab.device()
    before = lab.counters.dropped["forbidden"]
    forbidden = ("company/acme/presence/bob", "company/other/presence/alice", STATE, "$SYS/x", "fieldbeat/service")
    device.send(*(publish(topic, b"x", 1, number + 1, retain=True) for number, topic in enumerate(forbidden)))
    device.send(publish(PRESENCE, b"after", 1, 9))
    assert [each.body[1] for each in (device.answer() for _ in range(6)) if each] == [1, 2, 3, 4, 5, 9]
    assert payloads(watcher.fence()) == [b"after"]
    assert lab.counters.dropped["forbidden"] == before + 5


def test_a_filter_that_reaches_beyond_the_own_company_is_refused_and_brings_nothing(lab: Lab) -> None:
    stranger = lab.device("eve", "other")
    filters = (
        "#",
        "+/+/+/+",
        "company/#",
        "company/+/presence/+",
        "company/acme/#",
        "$SYS/#",
        "$share/g/company/#",
        "a#",
    )
    stranger.send(subscribe(1, *((pattern, 1) for pattern in filters), ("company/other/#", 1)))
    assert stranger.answer() == Packet(0x90, b"\x00\x01" + b"\x80" * len(filters) + b"\x01")
    device = lab.device()
    device.send(publish(PRESENCE, b"x", 1, 1, retain=True))
    assert device.answer() is not None
    assert stranger.fence() == []
    device.send(publish(PRESENCE, b"", 1, 2, retain=True))
    assert device.answer() is not None


def test_more_filters_than_allowed_are_refused(lab: Lab) -> None:
    client = lab.dashboard()
    client.send(subscribe(1, *((f"company/acme/state/u{number}", 0) for number in range(51))))
    suback = client.answer()
    assert suback is not None
    assert suback.body == b"\x00\x01" + b"\x00" * 50 + b"\x80"
    deep = "/".join(["company/acme"] + ["x"] * 40)
    client.send(unsubscribe(2, "company/acme/state/u0"), subscribe(3, (deep, 0)))
    assert [client.answer(), client.answer()] == [Packet(0xB0, b"\x00\x02"), Packet(0x90, b"\x00\x03\x80")]


# Retained messages


def test_retained_messages_come_after_a_subscribe_that_may_have_them_and_never_before(lab: Lab) -> None:
    service = lab.service("sender")
    service.send(
        publish(STATE, b"acme", 1, 1, retain=True), publish("company/other/state/eve", b"other", 1, 2, retain=True)
    )
    service.fence()
    client = lab.dashboard()
    assert client.fence() == []
    client.send(subscribe(1, ("company/acme/#", 1)))
    message = client.message()
    assert message is not None
    assert (message.topic, message.payload, message.retain, message.qos) == (STATE, b"acme", True, 1)
    client.send(subscribe(2, ("company/acme/state/+", 0), ("fieldbeat/service", 0)))
    assert [(each.payload, each.qos) for each in client.fence()] == [(b"acme", 0)]
    service.send(publish(STATE, b"", 1, 3, retain=True), publish("company/other/state/eve", b"", 1, 4, retain=True))
    assert payloads(client.messages(1)) == [b""]
    client.send(subscribe(3, ("company/acme/#", 1)))
    assert client.fence() == []
    assert lab.counters.retained == 0


def test_retained_messages_are_not_sent_again_when_a_session_is_resumed(lab: Lab) -> None:
    service = lab.service("sender")
    service.send(publish(STATE, b"state", 1, 1, retain=True))
    client = lab.dashboard(clean=False)
    client.send(subscribe(1, ("company/acme/#", 1)))
    assert payloads(client.messages(1)) == [b"state"]
    client.fence()
    client.send(DISCONNECT)
    assert client.ended()
    assert lab.dashboard(clean=False).fence() == []
    service.send(publish(STATE, b"", 1, 1, retain=True))
    service.fence()
    lab.dashboard()


# Wills


@pytest.mark.parametrize("end", ["abort", "close"])
def test_the_will_of_a_lost_connection_comes_after_its_last_message(
    lab: Lab, watcher: raw_mqtt.RawClient, end: str
) -> None:
    device = lab.device(will=OFFLINE)
    device.send(publish(PRESENCE, b"last", 1, 1))
    assert device.answer() is not None
    getattr(device, end)()
    assert payloads(watcher.messages(2)) == [b"last", b"offline"]


def test_a_disconnect_discards_the_will(lab: Lab, watcher: raw_mqtt.RawClient) -> None:
    device = lab.device(will=OFFLINE)
    device.send(DISCONNECT)
    assert device.ended()
    assert watcher.fence() == []


def test_silence_for_one_and_a_half_keepalives_brings_the_will(lab: Lab, watcher: raw_mqtt.RawClient) -> None:
    began = time.monotonic()
    device = lab.device(will=OFFLINE, keepalive=1)
    assert payloads(watcher.messages(1)) == [b"offline"]
    assert 1.4 < time.monotonic() - began < 2.6
    assert device.ended()


def test_bytes_without_a_packet_are_silence_too(lab: Lab) -> None:
    device = lab.device(keepalive=1)
    began = time.monotonic()
    for byte in publish(PRESENCE, bytes(100))[:60]:
        if device.ended(0.05):
            break
        device.send(bytes((byte,)))
    assert device.closed
    assert time.monotonic() - began < 3


def test_a_packet_that_is_trickled_ends_the_connection() -> None:
    with running(packet_timeout_s=0.5) as lab:
        device = lab.device()
        device.send(publish(PRESENCE, bytes(100))[:50])
        assert device.ended(3)
        assert lab.counters.closed["packet_timeout"] == 1


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_a_take_over_closes_the_old_connection_with_its_will_and_then_answers(
    lab: Lab, watcher: raw_mqtt.RawClient, first: bool, second: bool
) -> None:
    lab.device()  # forget an older session
    old = lab.device(clean=first, will=(PRESENCE, b"will 1", 1, False))
    new = lab.connect("acme:alice", "alice", lab.token(), clean=second, will=(PRESENCE, b"will 2", 1, False))
    assert new.answer() == Packet(0x20, bytes((not first and not second, 0)))
    assert old.ended()
    new.send(subscribe(1, (STATE, 1)))
    assert new.answer() == Packet(0x90, b"\x00\x01\x01")
    watcher.send(publish(STATE, b"works", 1, 1))
    assert payloads(new.messages(1)) == [b"works"]
    assert payloads(watcher.messages(2)) == [b"will 1", b"works"]
    new.send(DISCONNECT)
    assert new.ended()


# Sessions


def test_a_session_keeps_what_was_unacknowledged_and_what_came_meanwhile(lab: Lab) -> None:
    client = lab.dashboard(clean=False, ack=False)
    client.send(subscribe(1, (STATE, 1)))
    client.answer()
    sender = lab.service("sender")
    sender.send(publish(STATE, b"a", 1, 1), publish(STATE, b"b", 1, 2))
    first = client.messages(2)
    client.abort()
    lab.wait(lambda counters: counters.connections_open == 1)
    sender.send(publish(STATE, b"c", 1, 3), publish(STATE, b"at most once", 0))
    sender.fence()
    again = lab.dashboard(clean=False)
    second = again.fence()
    assert [(each.payload, each.dup, each.retain) for each in second] == [
        (b"a", True, False),
        (b"b", True, False),
        (b"c", False, False),
    ]
    assert [each.packet_id for each in second[:2]] == [each.packet_id for each in first]
    again.send(DISCONNECT)
    assert again.ended()
    assert lab.dashboard(clean=True).fence() == []


def test_the_queue_of_an_absent_session_keeps_the_newest() -> None:
    with running(pending=3) as lab:
        client = lab.dashboard(clean=False)
        client.send(subscribe(1, (STATE, 1)))
        client.answer()
        client.send(DISCONNECT)
        assert client.ended()
        sender = lab.service("sender")
        sender.send(*(publish(STATE, b"%d" % number, 1, number) for number in range(1, 6)))
        sender.fence()
        assert lab.counters.dropped["queue_full"] == 2
        assert payloads(lab.dashboard(clean=False).fence()) == [b"3", b"4", b"5"]


# Tokens


def test_a_connection_ends_with_its_token_and_its_will_is_published(lab: Lab, watcher: raw_mqtt.RawClient) -> None:
    client = lab.connect("acme:alice", "alice", lab.token(lifetime_s=1.5), will=OFFLINE)
    assert client.ended(4)
    assert payloads(watcher.messages(1)) == [b"offline"]
    assert lab.counters.closed["token_expired"] == 1


def test_a_revocation_ends_the_connection_within_a_second_and_forgets_the_session(
    lab: Lab, watcher: raw_mqtt.RawClient
) -> None:
    client = lab.device("rita", clean=False, will=("company/acme/presence/rita", b"revoked", 1, False))
    client.send(subscribe(1, ("company/acme/state/rita", 1)))
    client.answer()
    lab.revocations = Revocations(users={("acme", "rita"): now() + timedelta(seconds=1)})
    assert client.ended(1)
    assert payloads(watcher.messages(1)) == [b"revoked"]
    lab.broker.check_now()
    lab.wait(lambda counters: counters.subscriptions == 1)
    lab.revocations = Revocations()


def test_an_absent_session_gets_nothing_more_after_its_token_has_ended_unless_it_is_the_services(lab: Lab) -> None:
    for client_id, user, role in (("screen", "dana", Role.DASHBOARD), ("fieldbeat:absent", "svc", Role.SERVICE)):
        client = lab.connect(client_id, user, lab.token(user, role=role, lifetime_s=1.5), clean=False)
        client.send(subscribe(1, (STATE, 1)))
        assert [each.kind for each in (client.answer(), client.answer()) if each] == [2, 9]
        assert client.ended(4)
    lab.broker.check_now()
    sender = lab.service("sender")
    sender.fence()
    sender.send(publish(STATE, b"later", 1, 1))
    sender.fence()
    for client_id, user, role, expected in (
        ("screen", "dana", Role.DASHBOARD, []),
        ("fieldbeat:absent", "svc", Role.SERVICE, [b"later"]),
    ):
        client = lab.connect(client_id, user, lab.token(user, role=role), clean=False)
        assert client.answer() == Packet(0x20, b"\x01\x00")
        assert payloads(client.fence()) == expected
        client.send(DISCONNECT)
        assert lab.connect(client_id, user, lab.token(user, role=role)).answer() is not None


# Malformed packets


MALFORMED = {
    "type 0": b"\x00\x00",
    "type 15": b"\xf0\x00",
    "length of five digits": b"\x30\xff\xff\xff\xff\x01",
    "subscribe with qos 3": subscribe(1, ("company/acme/#", 3)),
    "subscribe without filters": packet(0x82, b"\x00\x01"),
    "subscribe with wrong flags": b"\x80" + subscribe(1, ("company/acme/#", 0))[1:],
    "subscribe with packet id 0": subscribe(0, ("company/acme/#", 0)),
    "unsubscribe without filters": packet(0xA2, b"\x00\x01"),
    "filter longer than its packet": packet(0x82, b"\x00\x01\xff\xffabc"),
    "publish with qos 3": packet(0x36, string(PRESENCE) + b"\x00\x01x"),
    "publish to a wildcard": publish("company/#", b"x", 1),
    "publish to nothing": publish("", b"x", 1),
    "publish with packet id 0": publish(PRESENCE, b"x", 1, 0),
    "publish with dup at qos 0": publish(PRESENCE, b"x", dup=True),
    "publish without its packet id": packet(0x32, string(PRESENCE) + b"\x00"),
    "topic longer than its packet": packet(0x30, b"\xff\xffabc"),
    "topic that is not utf-8": packet(0x30, string(b"company/\xff") + b"x"),
    "topic with nul": packet(0x30, string("company/a\0b") + b"x"),
    "publish of nothing": packet(0x30),
    "second connect": raw_mqtt.connect("acme:alice"),
    "connack": packet(0x20, b"\x00\x00"),
    "suback": packet(0x90, b"\x00\x01\x00"),
    "ping with a body": packet(0xC0, b"abc"),
    "disconnect with a body": packet(0xE0, b"a"),
    "puback of one byte": packet(0x40, b"\x01"),
    "pubrel with wrong flags": packet(0x60, b"\x00\x01"),
    "subscribe with thousands of filters": subscribe(1, *[("a", 0)] * 5_000),
    "too large, and no publish": packet(0x82, bytes(300_000)),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_packet_ends_the_connection_and_brings_the_will(
    lab: Lab, watcher: raw_mqtt.RawClient, name: str
) -> None:
    device = lab.device(will=OFFLINE)
    device.send(MALFORMED[name])
    assert device.ended()
    assert payloads(watcher.fence()) == [b"offline"]


def test_acknowledgements_of_nothing_are_ignored(lab: Lab) -> None:
    device = lab.device()
    device.send(raw_mqtt.puback(77), packet(0x50, b"\x00\x4d"), packet(0x70, b"\x00\x4d"), packet(0x62, b"\x00\x05"))
    assert device.answers() == [Packet(0x62, b"\x00\x4d"), Packet(0x70, b"\x00\x05")]


def test_random_bytes_after_a_connect_never_harm_the_broker(lab: Lab) -> None:
    chance = random.Random(3)
    for _ in range(60):
        device = lab.device()
        device.send(chance.randbytes(chance.randint(1, 400)))
        device.close()
    assert lab.device().fence() == []
    assert lab.counters.closed["internal_error"] == 0


def test_packets_may_arrive_in_any_cut(lab: Lab, watcher: raw_mqtt.RawClient) -> None:
    device = lab.device()
    data = b"".join(publish(PRESENCE, bytes(size), 1, size + 1) for size in (0, 1, 100, 127, 128, 300))
    for byte in data:
        device.send(bytes((byte,)))
    assert [len(each.payload) for each in watcher.messages(6)] == [0, 1, 100, 127, 128, 300]
