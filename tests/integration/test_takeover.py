"""The last turn of a client id at a real Mosquitto: its session gives what it has, gets nothing more, and is empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice

import pytest

from broker.link import Delivery
from broker.mqtt_link import MqttLink, Options
from broker.takeover import Takeover
from models import topics
from models.errors import LinkLost
from tests.integration.link_rigs import WITHIN_S, device
from tests.integration.plugged import until
from tests.servers import Mosquitto, mosquitto

PRESENCE = "company/acme/presence/alice"
GONE, STAYS = "fieldbeat:ingest-one-1", "fieldbeat:ingest-two-1"
QUEUE = 100
"""Of the broker, for each session; some more are on their way."""
ON_THE_WAY = 20


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    lines = ["allow_anonymous true", f"max_queued_messages {QUEUE}", f"max_inflight_messages {ON_THE_WAY}"]
    with mosquitto(lines) as server:
        yield server


@contextmanager
def linked(broker: Mosquitto, client_id: str, share: str | None = "fieldbeat") -> Iterator[MqttLink]:
    link = MqttLink(Options(f"mqtt://127.0.0.1:{broker.port}", client_id, str, share=share))
    try:
        assert link.wait_connected(WITHIN_S), link.trouble
        yield link
    finally:
        link.close()


def listen(link: MqttLink) -> Iterator[Delivery | None]:
    """Return the deliveries of LINK, which has subscribed."""
    deliveries = link.deliveries(topics.INGEST_FILTERS, 0.1)
    until(lambda: link.is_listening)
    return deliveries


def leave_a_session(broker: Mosquitto, share: str | None = "fieldbeat") -> None:
    """Subscribe and go, as an ingest does that was stopped."""
    with linked(broker, GONE, share) as link:
        listen(link)


def take(deliveries: Iterator[Delivery | None], count: int) -> list[bytes]:
    """Acknowledge the next COUNT messages and return their payloads."""
    taken = list(islice((delivery for delivery in deliveries if delivery is not None), count))
    for delivery in taken:
        delivery.ack()
    return [delivery.payload for delivery in taken]


def retired(link: MqttLink) -> list[bytes]:
    """Take the session of LINK over, and return the payloads of what was in it."""
    found = []
    for delivery in Takeover(link, link.options.client_id).deliveries(topics.INGEST_FILTERS, 0.1):
        if delivery is not None:
            delivery.ack()
            found.append(delivery.payload)
    return found


def test_a_retired_member_gives_its_part_and_the_others_get_all_that_comes_after(broker: Mosquitto) -> None:
    leave_a_session(broker)
    with ExitStack() as stack:
        stays = listen(stack.enter_context(linked(broker, STAYS)))
        send = device(stack, broker.port, str)
        for number in range(40):
            send(PRESENCE, b"%d" % number)
        with linked(broker, GONE) as gone:
            found = retired(gone)
            for number in range(40, 60):
                send(PRESENCE, b"%d" % number)
            stayed = take(stays, 60 - len(found))
        assert found
    assert sorted(map(int, [*found, *stayed])) == list(range(60))


def test_a_session_whose_queue_is_full_gives_all_that_it_kept(broker: Mosquitto) -> None:
    leave_a_session(broker, share=None)
    with ExitStack() as stack:
        send = device(stack, broker.port, str)
        for number in range(2 * QUEUE):
            send(PRESENCE, b"%d" % number)
        other = stack.enter_context(linked(broker, STAYS, share=None))
        assert other.publish("fieldbeat/service", b"fence").wait(WITHIN_S)
        with linked(broker, GONE, share=None) as gone:
            found = retired(gone)
    assert found == [b"%d" % number for number in range(len(found))]
    assert len(found) >= QUEUE


def test_what_was_not_acknowledged_stays_for_the_next_try(broker: Mosquitto) -> None:
    leave_a_session(broker)
    with ExitStack() as stack:
        send = device(stack, broker.port, str)
        for number in range(3):
            send(PRESENCE, b"%d" % number)
        with linked(broker, GONE) as gone:
            first = next(filter(None, Takeover(gone, GONE).deliveries(topics.INGEST_FILTERS, 0.1)))
            assert first.payload == b"0"
        with linked(broker, GONE) as gone:
            assert retired(gone) == [b"0", b"1", b"2"]


def test_a_client_id_that_a_live_process_uses_is_left_to_it(broker: Mosquitto) -> None:
    with ExitStack() as stack:
        lives = stack.enter_context(linked(broker, GONE))
        deliveries = listen(lives)
        with linked(broker, GONE) as gone, pytest.raises(LinkLost, match="stop the process that uses this client id"):
            retired(gone)
        until(lambda: lives.is_listening)
        device(stack, broker.port, str)(PRESENCE, b"still here")
        assert take(deliveries, 1) == [b"still here"]
