"""PUBACK means stored: what is acknowledged to a device has been acknowledged by the service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.embedded_lab import PRESENCE, Lab, running
from tests.integration.raw_mqtt import DISCONNECT, Packet, Published, packet, puback, publish, subscribe, unsubscribe

ALL_PRESENCE = "company/+/presence/+"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running(hold_pubacks=True, held_per_connection=10, held=25) as lab:
        yield lab


def payloads(messages: list[Published]) -> list[bytes]:
    return [each.payload for each in messages]


def acknowledgement(number: int, kind: int = 0x40) -> Packet:
    return Packet(kind, number.to_bytes(2, "big"))


def test_a_device_is_acknowledged_after_the_worker_has_acknowledged(lab: Lab) -> None:
    worker = lab.service("ingest", ALL_PRESENCE, ack=False)
    device = lab.device()
    device.send(publish(PRESENCE, b"a", 1, 1))
    message = worker.message()
    assert message is not None
    assert device.answers() == []
    assert lab.counters.held == 1
    worker.send(puback(message.packet_id))
    assert device.answer() == acknowledgement(1)
    assert lab.counters.held == 0


def test_acknowledgements_come_in_the_order_of_the_messages(lab: Lab) -> None:
    worker = lab.service("ingest", ALL_PRESENCE, ack=False)
    device = lab.device()
    device.send(
        publish(PRESENCE, b"a", 1, 1),
        publish(PRESENCE, b"b", 2, 2),
        publish("company/acme/presence/bob", b"forbidden", 1, 3),
        publish(PRESENCE, b"d", 1, 4),
    )
    identifiers = [each.packet_id for each in worker.messages(3)]
    worker.send(puback(identifiers[2]), puback(identifiers[1]))
    worker.fence()
    assert device.answers() == []
    worker.send(puback(identifiers[0]))
    expected = [acknowledgement(1), acknowledgement(2, 0x50), acknowledgement(3), acknowledgement(4)]
    assert [device.answer() for _ in range(4)] == expected


def test_without_a_worker_the_acknowledgement_waits_and_the_next_worker_gets_the_messages_in_order(lab: Lab) -> None:
    device = lab.device(will=(PRESENCE, b"will", 1, False))
    device.send(*(publish(PRESENCE, b"%d" % number, 1, number) for number in range(1, 6)))
    assert device.answers() == []
    worker = lab.service("ingest", ALL_PRESENCE)
    assert payloads(worker.messages(5)) == [b"1", b"2", b"3", b"4", b"5"]
    assert [device.answer() for _ in range(5)] == [acknowledgement(number) for number in range(1, 6)]
    worker.send(DISCONNECT)
    assert worker.ended()
    device.abort()
    lab.wait(lambda counters: counters.wills == 1)
    assert payloads(lab.service("ingest", ALL_PRESENCE).messages(1)) == [b"will"]


@pytest.mark.parametrize("clean", [True, False])
def test_a_worker_that_dies_before_its_acknowledgement_gets_the_message_again(lab: Lab, clean: bool) -> None:
    worker = lab.service("ingest", ALL_PRESENCE, ack=False, clean=clean)
    device = lab.device()
    device.send(publish(PRESENCE, b"a", 1, 1), publish(PRESENCE, b"b", 1, 2))
    assert payloads(worker.messages(2)) == [b"a", b"b"]
    worker.abort()
    device.send(publish(PRESENCE, b"c", 1, 3))
    assert device.answers() == []
    again = lab.service("ingest", ALL_PRESENCE, clean=clean)
    assert payloads(again.messages(3)) == [b"a", b"b", b"c"]
    assert [device.answer() for _ in range(3)] == [acknowledgement(number) for number in (1, 2, 3)]


def test_when_two_services_have_the_message_both_must_acknowledge(lab: Lab) -> None:
    worker = lab.service("ingest", ALL_PRESENCE, ack=False)
    audit = lab.service("audit", "company/acme/#", ack=False)
    device = lab.device()
    device.send(publish(PRESENCE, b"a", 1, 1))
    for service in (worker, audit):
        assert device.answers() == []
        message = service.message()
        assert message is not None
        service.send(puback(message.packet_id))
    assert device.answer() == acknowledgement(1)


def test_a_service_that_leaves_is_not_waited_for(lab: Lab) -> None:
    audit = lab.service("audit", "company/acme/#", ack=False)
    worker = lab.service("ingest", ALL_PRESENCE)
    device = lab.device()
    device.send(publish(PRESENCE, b"a", 1, 1), publish(PRESENCE, b"b", 1, 2))
    assert len(worker.messages(2)) == 2
    assert device.answers() == []
    audit.send(unsubscribe(5, "company/acme/#"))
    assert [device.answer(), device.answer()] == [acknowledgement(1), acknowledgement(2)]


def test_messages_of_a_consumer_that_leaves_go_to_one_that_is_still_here(lab: Lab) -> None:
    first = lab.service("one", ALL_PRESENCE, ack=False)
    device = lab.device()
    device.send(publish(PRESENCE, b"a", 1, 1))
    assert payloads(first.messages(1)) == [b"a"]
    second = lab.service("two", ALL_PRESENCE)
    assert second.fence() == []
    first.abort()
    assert payloads(second.messages(1)) == [b"a"]
    assert device.answer() == acknowledgement(1)


def test_only_what_the_service_stores_is_held(lab: Lab) -> None:
    service = lab.service("ingest")
    service.send(publish("company/acme/state/alice", b"x", 1, 1), publish("fieldbeat/service", b"x", 1, 2))
    assert [service.answer(), service.answer()] == [acknowledgement(1), acknowledgement(2)]
    service.send(publish(PRESENCE, b"x", 1, 3))
    assert service.answers() == []
    dashboard = lab.dashboard()
    dashboard.send(subscribe(1, ("company/acme/#", 1)))
    lab.device().send(publish(PRESENCE, b"now", 1, 1))
    assert payloads(dashboard.messages(1)) == [b"now"]


def test_a_device_that_sends_too_much_is_no_longer_read_until_the_worker_comes(lab: Lab) -> None:
    device = lab.device(keepalive=1)
    device.send(*(publish(PRESENCE, b"%d" % number, 1, number) for number in range(1, 101)))
    lab.wait(lambda counters: counters.held == 10)
    bob = lab.device("bob")
    bob.send(publish("company/acme/presence/bob", b"bob", 1, 1))
    assert bob.answers() == []
    assert not device.ended(2)  # its silence is ours
    worker = lab.service("ingest", ALL_PRESENCE)
    received = payloads(worker.messages(101))
    assert [each for each in received if each != b"bob"] == [b"%d" % number for number in range(1, 101)]
    assert [device.answer() for _ in range(100)] == [acknowledgement(number) for number in range(1, 101)]


def test_the_broker_holds_no_more_than_its_limit_and_the_worker_is_still_read(lab: Lab) -> None:
    worker = lab.service("ingest", ALL_PRESENCE, ack=False)
    devices = [lab.device(f"u{number}") for number in range(10)]
    for number, device in enumerate(devices):
        device.send(*(publish(f"company/acme/presence/u{number}", b"x", 1, each) for each in range(1, 9)))
    received = worker.messages(25)
    assert len(received) == 25
    held = lab.wait(lambda counters: counters.held >= 25).held
    assert held <= 25 + len(devices)
    # The worker's own notices are held like all others; that must not keep its acknowledgements from being read.
    worker.send(*(publish("company/acme/presence/u1", b"notice", 1, each) for each in range(1, 30)))
    for _ in range(80 + 29):
        for message in received:
            worker.send(puback(message.packet_id))
        received = worker.messages(1, 0.5)
        if not received:
            break
    for device in devices:
        assert [device.answer() for _ in range(8)] == [acknowledgement(each) for each in range(1, 9)]
    assert lab.wait(lambda counters: counters.held == 0).dropped["queue_full"] == 0


def test_pubrec_of_qos_2_waits_too_and_finds_the_device_that_came_back(lab: Lab) -> None:
    worker = lab.service("ingest", ALL_PRESENCE, ack=False)
    device = lab.device(clean=False)
    device.send(publish(PRESENCE, b"x", 2, 7))
    message = worker.message()
    assert message is not None
    assert device.answers() == []
    device.abort()
    again = lab.device(clean=False)
    again.send(publish(PRESENCE, b"x", 2, 7, dup=True))
    assert again.answers() == []
    assert worker.fence() == []
    worker.send(puback(message.packet_id))
    assert again.answer() == acknowledgement(7, 0x50)
    again.send(packet(0x62, b"\x00\x07"))
    assert again.answer() == acknowledgement(7, 0x70)


def test_a_publish_over_the_packet_limit_is_cut_and_goes_to_the_service_alone() -> None:
    with running(hold_pubacks=True, max_packet=100_000) as lab:
        worker = lab.service("ingest", ALL_PRESENCE, ack=False)
        dashboard = lab.dashboard()
        dashboard.send(subscribe(1, ("company/acme/#", 1)))
        dashboard.answer()
        device = lab.device()
        device.send(publish(PRESENCE, b"x" * 5_000_000, 1, 1, retain=True), publish(PRESENCE, b"next", 1, 2))
        cut, following = worker.messages(2)
        assert cut.payload == b"x" * (16 * 1024 + 1)
        assert device.answers() == []
        worker.send(puback(cut.packet_id), puback(following.packet_id))
        assert [device.answer(), device.answer()] == [acknowledgement(1), acknowledgement(2)]
        assert payloads(dashboard.fence()) == [b"next"]
        counters = lab.counters
        assert counters.dropped["too_large"] == 1
        assert counters.retained == 0


def test_with_the_setting_off_a_message_is_acknowledged_when_it_is_accepted_and_still_slows_its_device_down() -> None:
    with running(held_per_connection=10) as lab:
        device = lab.device()
        device.send(publish(PRESENCE, b"nobody", 1, 1))
        assert device.answer() == acknowledgement(1)
        worker = lab.service("ingest", ALL_PRESENCE, ack=False)
        device.send(*(publish(PRESENCE, b"%d" % number, 1, number) for number in range(1, 21)))
        assert [device.answer() for _ in range(10)] == [acknowledgement(number) for number in range(1, 11)]
        assert device.answer(0.1) is None
        for message in worker.messages(10):
            worker.send(puback(message.packet_id))
        assert [device.answer() for _ in range(10)] == [acknowledgement(number) for number in range(11, 21)]
