"""What `broker.link` promises, asked of every link: in memory, over MQTT to Mosquitto and to our own broker, and within its process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC
from itertools import pairwise

import pytest

from broker.access import Role
from broker.link import Delivery, Link
from broker.mqtt_link import MqttLink, Options
from models import topics
from models.errors import LinkLost
from tests.integration import raw_mqtt
from tests.integration.embedded_lab import running
from tests.integration.link_rigs import CLIENT_ID, RIGS, WITHIN_S, Rig
from tests.integration.pipe_lab import wait_until
from tests.integration.raw_mqtt import RawClient

PRESENCE = "company/acme/presence/alice"
STATE = "company/acme/state/alice"
IDLE_S = 0.1


@pytest.fixture(params=list(RIGS))
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with ExitStack() as stack:
        yield RIGS[request.param](stack)


@pytest.fixture(params=["mosquitto", "embedded"])
def remote(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A rig whose link can be thrown out."""
    with ExitStack() as stack:
        yield RIGS[request.param](stack)


def listen(link: Link) -> Iterator[Delivery | None]:
    """Return the deliveries of LINK, subscribed by the time of the first None."""
    return link.deliveries(topics.INGEST_FILTERS, IDLE_S)


def take(deliveries: Iterator[Delivery | None], count: int) -> list[Delivery]:
    """Return the next COUNT deliveries."""
    taken: list[Delivery] = []
    give_up = time.monotonic() + WITHIN_S
    while len(taken) < count:
        assert time.monotonic() < give_up, f"{len(taken)} of {count}"
        delivery = next(deliveries)
        if delivery is not None:
            taken.append(delivery)
    return taken


def payloads(taken: list[Delivery]) -> list[bytes]:
    return [delivery.payload for delivery in taken]


def fence(link: Link) -> None:
    """Wait until the broker has what LINK said before: a link that is closed may take acknowledgements with it."""
    assert link.publish(STATE, b"fence").wait(WITHIN_S)


def test_messages_come_in_order_with_rising_times_of_receipt(rig: Rig) -> None:
    deliveries = listen(rig.link)
    assert next(deliveries) is None
    for number in range(100):
        rig.send(PRESENCE, b"%d" % number)
    taken = take(deliveries, 100)
    assert payloads(taken) == [b"%d" % number for number in range(100)]
    assert {(delivery.topic, delivery.retained) for delivery in taken} == {(PRESENCE, False)}
    assert all(delivery.received_at.tzinfo is UTC for delivery in taken)
    assert all(one.received_at < other.received_at for one, other in pairwise(taken))


def test_none_is_yielded_when_nothing_more_is_waiting_and_then_again_and_again(rig: Rig) -> None:
    deliveries = listen(rig.link)
    assert [next(deliveries), next(deliveries)] == [None, None]
    rig.send(PRESENCE, b"x")
    take(deliveries, 1)
    assert [next(deliveries), next(deliveries)] == [None, None]


def test_only_what_the_filters_select_is_delivered(rig: Rig) -> None:
    deliveries = listen(rig.link)
    assert next(deliveries) is None
    assert rig.link.publish("company/acme/state/alice", b"state").wait(WITHIN_S)
    rig.send("company/acme/activity/alice", b"activity")
    rig.send("company/acme/status/alice", b"status")
    assert payloads(take(deliveries, 2)) == [b"activity", b"status"]
    assert next(deliveries) is None


def test_what_was_not_acknowledged_comes_again_to_the_next_process(rig: Rig) -> None:
    deliveries = listen(rig.link)
    assert next(deliveries) is None
    for number in range(4):
        rig.send(PRESENCE, b"%d" % number)
    for delivery in take(deliveries, 4)[::2]:
        delivery.ack()
    fence(rig.link)
    again = listen(rig.again())
    taken = take(again, 2)
    assert payloads(taken) == [b"1", b"3"]
    assert not any(delivery.retained for delivery in taken)
    for delivery in taken:
        delivery.ack()
    fence(rig.link)
    rig.send(PRESENCE, b"new")
    last = take(listen(rig.again()), 1)
    assert payloads(last) == [b"new"]


def test_what_is_sent_while_nobody_listens_waits_for_the_next_process(rig: Rig) -> None:
    assert next(listen(rig.link)) is None
    if isinstance(rig.link, MqttLink):
        rig.link.close()
    rig.send(PRESENCE, b"meanwhile")
    taken = take(listen(rig.again()), 1)
    assert payloads(taken) == [b"meanwhile"]


def test_a_late_acknowledgement_does_no_harm(rig: Rig) -> None:
    deliveries = listen(rig.link)
    assert next(deliveries) is None
    rig.send(PRESENCE, b"old")
    old = take(deliveries, 1)[0]
    again = listen(rig.again())
    old.ack()
    rig.send(PRESENCE, b"new")
    taken = take(again, 1)
    if payloads(taken) == [b"old"]:
        taken = take(again, 1)
    assert payloads(taken) == [b"new"]
    taken[0].ack()


def test_what_the_broker_kept_is_marked_and_what_is_live_is_not(rig: Rig) -> None:
    rig.retain(STATE, b"kept")
    deliveries = rig.link.deliveries(["company/+/state/+", *topics.INGEST_FILTERS], IDLE_S)
    taken = take(deliveries, 1)
    rig.send(PRESENCE, b"live")
    taken += take(deliveries, 1)
    assert [(delivery.payload, delivery.retained) for delivery in taken] == [(b"kept", True), (b"live", False)]


def test_publications_are_confirmed(rig: Rig) -> None:
    confirmations = [rig.link.publish(STATE, b"%d" % number) for number in range(300)]
    assert all(confirmation.wait(WITHIN_S) for confirmation in confirmations)
    assert confirmations[0].wait(0)


def test_close_ends_the_deliveries_of_a_waiting_reader(rig: Rig) -> None:
    received: list[Delivery | None] = []
    reader = threading.Thread(
        target=lambda: received.extend(rig.link.deliveries(topics.INGEST_FILTERS, 60)), name="reader"
    )
    reader.start()
    rig.link.close()
    reader.join(WITHIN_S)
    assert not reader.is_alive()
    assert not any(received)


def test_a_spell_says_whether_the_broker_kept_the_session(rig: Rig) -> None:
    first = rig.link.spell
    assert first is not None
    assert (first.resumed, first.since.tzinfo) == (False, UTC)
    assert next(listen(rig.link)) is None
    rig.send(PRESENCE, b"x")
    second = rig.again().spell
    assert second is not None
    assert second.resumed or second is first


def test_a_link_that_is_thrown_out_comes_back_by_itself_and_gets_the_rest_again(remote: Rig) -> None:
    deliveries = listen(remote.link)
    assert next(deliveries) is None
    remote.send(PRESENCE, b"1")
    remote.send(PRESENCE, b"2")
    take(deliveries, 2)[0].ack()
    fence(remote.link)
    before = remote.link.spell
    assert remote.port is not None
    with RawClient(remote.port, ack=False) as thief:
        thief.send(raw_mqtt.connect(CLIENT_ID, "service", remote.token(Role.SERVICE), clean=False))
        assert thief.answer() is not None
    taken = take(deliveries, 1)
    assert payloads(taken) == [b"2"]
    after = remote.link.spell
    assert after is not None
    assert after is not before
    assert after.resumed
    taken[0].ack()


def test_a_link_that_is_closed_publishes_nothing(remote: Rig) -> None:
    remote.link.close()
    assert remote.link.spell is None
    with pytest.raises(LinkLost):
        remote.link.publish(STATE, b"x")


def test_a_link_without_a_broker_has_no_spell_and_a_reason() -> None:
    link = MqttLink(Options("mqtt://127.0.0.1:1", CLIENT_ID, str))
    assert not link.wait_connected(0.1)
    assert link.spell is None
    with pytest.raises(LinkLost):
        link.publish(STATE, b"x")
    link.close()
    assert link.trouble is not None


def test_a_link_says_when_the_broker_has_confirmed_what_it_listens_to(remote: Rig) -> None:
    link = remote.link
    assert isinstance(link, MqttLink)
    assert not link.is_listening
    deliveries = link.deliveries(topics.INGEST_FILTERS, IDLE_S)
    wait_until(lambda: link.is_listening)
    remote.send(PRESENCE, b"1")
    assert next(each for each in deliveries if each is not None).payload == b"1"
    link.close()
    assert not link.is_listening


def test_a_link_that_the_broker_lets_not_listen_says_so() -> None:
    with running() as lab:
        token = lab.token("alice", role=Role.DEVICE)
        link = MqttLink(Options(f"mqtt://127.0.0.1:{lab.port}", "acme:alice", lambda: token, "alice"))
        link.deliveries(topics.INGEST_FILTERS, IDLE_S)
        wait_until(lambda: "refuses the subscription" in str(link.trouble))
        assert not link.is_listening
        link.close()
