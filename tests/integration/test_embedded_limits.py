"""What one peer can take from the others: nothing."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from tests.integration.embedded_lab import PRESENCE, running
from tests.integration.raw_mqtt import publish, subscribe

STATE = "company/acme/state/alice"


def resident_bytes() -> int:
    """Return the resident memory of this process, which the broker is in [proc(5)]."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_subscriber_that_does_not_read_is_cut_off_and_the_others_do_not_notice() -> None:
    with running(pending=200) as lab:
        slow = lab.dashboard("slow", receive_buffer=4096)
        slow.send(subscribe(1, ("company/acme/#", 0)))
        healthy = lab.dashboard("healthy")
        healthy.send(subscribe(1, ("company/acme/#", 0)))
        healthy.fence()
        sender = lab.service("sender")
        sent = 0
        while not lab.counters.closed["slow_consumer"]:
            assert sent < 20_000
            sender.send(*(publish(STATE, b"%05d" % (sent + each) + bytes(2000)) for each in range(20)))
            sent += 20
            assert [int(each.payload[:5]) for each in healthy.messages(20)] == list(range(sent - 20, sent))
        assert lab.counters.sessions == 2


def test_a_subscriber_that_never_acknowledges_is_cut_off() -> None:
    with running(pending=200) as lab:
        slow = lab.dashboard("slow", ack=False)
        slow.send(subscribe(1, (STATE, 1)))
        slow.answer()
        sender = lab.service("sender")
        for number in range(1, 400):
            sender.send(publish(STATE, b"x", 1, number))
        assert slow.ended()
        assert len(slow.messages(1000, 0)) == 100
        assert lab.counters.closed["slow_consumer"] == 1


def test_a_device_that_floods_at_qos_0_does_not_cut_the_service_off() -> None:
    with running(pending=50) as lab:
        worker = lab.service("ingest", "company/+/presence/+", receive_buffer=4096)
        device = lab.device()
        device.send(*(publish(PRESENCE, bytes(5000)) for _ in range(4000)))
        lab.wait(lambda counters: counters.messages_in == 4000)
        assert lab.counters.dropped["queue_full"] > 0
        assert lab.counters.closed["slow_consumer"] == 0
        worker.fence()
        assert not worker.closed


def test_retained_messages_are_bounded_in_number_and_size() -> None:
    with running(retained=3, retained_payload=100) as lab:
        sender = lab.service("sender")
        sender.send(*(publish(f"company/acme/state/u{each}", b"x", 1, each, retain=True) for each in range(1, 5)))
        sender.send(publish("company/acme/state/u1", bytes(101), 1, 5, retain=True))
        sender.fence()
        counters = lab.counters
        assert counters.retained == 2  # what was replaced by something too large is no longer true
        assert counters.dropped["retained_full"] == 2


def test_an_absent_session_is_forgotten_in_time() -> None:
    with running(session_expiry_s=0.5) as lab:
        client = lab.dashboard(clean=False)
        client.send(subscribe(1, (STATE, 1)))
        client.answer()
        client.abort()
        lab.wait(lambda counters: counters.sessions == 0)
        assert lab.counters.subscriptions == 0


def test_subscriptions_that_come_and_go_lose_no_message_of_others() -> None:
    with running() as lab:
        steady = lab.dashboard("steady")
        steady.send(subscribe(1, ("company/acme/#", 0)))
        steady.answer()
        sender = lab.service("sender")
        for number in range(100):
            sender.send(*(publish(STATE, b"%d" % (number * 5 + each)) for each in range(5)))
            lab.dashboard("churn").send(subscribe(1, (f"company/acme/state/x{number}", 0)))
        assert [int(each.payload) for each in steady.messages(500)] == list(range(500))


@pytest.mark.parametrize("hold_pubacks", [True, False])
def test_memory_stays_flat_under_load(hold_pubacks: bool) -> None:
    with running(hold_pubacks=hold_pubacks) as lab:
        worker = lab.service("ingest", "company/+/presence/+")
        device = lab.device()

        def load(rounds: int) -> None:
            for _ in range(rounds):
                device.send(*(publish(PRESENCE, bytes(200), 1, each) for each in range(1, 501)))
                assert len(worker.messages(500)) == 500
                assert all(device.answer() is not None for _ in range(500))

        load(10)
        before = resident_bytes()
        load(40)
        assert resident_bytes() - before < 4_000_000
        assert lab.counters.held == 0


def test_thousands_of_refused_connects_leave_the_memory_as_it_was() -> None:
    with running() as lab:

        def refuse(count: int) -> None:
            for number in range(count):
                client = lab.connect(f"acme:ghost:{number}", "ghost", "x" * 2000)
                assert client.answer() is not None
                client.close()

        refuse(200)
        before = resident_bytes()
        refuse(1500)
        assert resident_bytes() - before < 4_000_000
