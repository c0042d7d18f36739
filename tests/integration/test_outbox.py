"""Announcing what was stored: once, in order, until the broker has confirmed it, and states no oftener than wanted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import msgspec
import pytest
from sqlalchemy import Engine

from broker.link import Spell
from ingest.outbox import Outbox
from ingest.store import Store
from models import topics
from models.errors import StoreFailed
from tests.integration.pipe_lab import EVENTS, PRESENCE, S0, STATE, Pipe, now, types, wait_until
from tests.integration.store_lab import TERMS, dump, listen, only


def test_events_are_announced_once_and_in_order_before_the_retained_state(pipe: Pipe) -> None:
    assert pipe.outbox.relay()
    pipe.send(session=S0, seq=0, latitude=1.5, longitude=2.5)
    pipe.send(channel="activity", projectId="p1")
    pipe.send(channel="status", message="On site")
    pipe.send(session=S0, seq=1, type="offline", reason="signed_off")
    pipe.settle()
    assert pipe.outbox.relay()
    assert types(pipe.published(EVENTS)) == ["user:online", "activity:changed", "status:updated", "user:offline"]
    assert only(pipe.published(topics.SERVICE))["online"] is True
    state = pipe.published(STATE)[-1]
    assert (state["status"], state["reason"], state["lastLatitude"]) == ("offline", "signed_off", 1.5)
    assert [retain for topic, _, retain in pipe.link.published if topic == STATE] == [True]
    before = len(pipe.link.published)
    assert pipe.outbox.relay()
    assert len(pipe.link.published) == before
    assert len({event["id"] for event in pipe.published(EVENTS)}) == 4


def test_a_notice_goes_to_the_presence_channel_and_is_ignored_when_it_comes_back(pipe: Pipe) -> None:
    pipe.send(session=S0, device="phone")
    pipe.settle()
    listen(pipe.store, pipe.engine, now() - TERMS.stale_after, now() + 3 * TERMS.stale_after)
    assert pipe.store.sweep(now() + 2 * TERMS.stale_after, 10).users == 1
    pipe.outbox.relay()
    notice = only(pipe.published(PRESENCE))
    assert (notice["reason"], notice["source"], notice["session"]) == ("stale_session", "fieldbeat", S0)
    assert types(pipe.published(EVENTS)) == ["user:online", "user:offline"]
    before = dump(pipe.engine)
    pipe.link.send(PRESENCE, msgspec.json.encode(notice))
    pipe.settle()
    assert dump(pipe.engine) == before
    assert pipe.metrics.counters()["ignored", ""] == 1


@pytest.mark.parametrize("trouble", ["refuses", "forgets"])
def test_a_position_that_the_broker_did_not_take_is_announced_when_it_does(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr("ingest.outbox._CONFIRM_S", 0.01)
    assert pipe.outbox.relay()
    for latitude, troubled in ((1.0, False), (2.0, True)):
        pipe.send(session=S0, latitude=latitude, longitude=1.0)
        pipe.settle()
        setattr(pipe.link, trouble, lambda topic, now=troubled: now and topic == STATE)
        assert pipe.outbox.relay() is not troubled
    before = len(pipe.published(STATE))
    setattr(pipe.link, trouble, lambda _topic: False)
    assert pipe.outbox.relay()
    assert [state["lastLatitude"] for state in pipe.published(STATE)[before:]] == [2.0]


def test_positions_are_coalesced_to_the_interval_and_changes_are_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 100.0
    monkeypatch.setattr("ingest.outbox.time", SimpleNamespace(monotonic=lambda: seconds))
    pipe = Pipe(engine, interval_s=5.0)
    assert pipe.outbox.relay()

    def report(latitude: float, **fields: str) -> list[float]:
        pipe.send(session=S0, latitude=latitude, longitude=1.0, **fields)
        pipe.settle()
        assert pipe.outbox.relay()
        return [state["lastLatitude"] for state in pipe.published(STATE)]

    assert report(1.0) == report(2.0) == report(3.0) == [1.0]
    assert report(4.0, status="away") == [1.0, 4.0]
    seconds += 4.9
    assert report(5.0, status="away") == [1.0, 4.0]
    seconds += 0.1
    assert pipe.outbox.relay()
    assert report(6.0, status="away") == [1.0, 4.0, 5.0]
    revs = [state["rev"] for state in pipe.published(STATE)]
    assert revs == sorted(set(revs))


def test_a_link_that_is_lost_during_a_relay_publishes_the_rest_again(pipe: Pipe) -> None:
    for number in range(5):
        pipe.send(f"u{number}", session=S0)
    pipe.settle()
    pipe.link.refuses = lambda topic: topic.endswith("events/u3")
    assert not pipe.outbox.relay()
    assert all(row["confirmed_at"] is None for row in dump(pipe.engine)["event"])
    pipe.link.refuses = lambda _topic: False
    assert pipe.outbox.relay()
    announced = [topic for topic, _, _ in pipe.link.published if "/events/" in topic]
    assert announced[-5:] == [f"company/acme/events/u{number}" for number in range(5)]
    assert all(row["confirmed_at"] is not None for row in dump(pipe.engine)["event"])
    assert {state["status"] for number in range(5) for state in pipe.published(f"company/acme/state/u{number}")} == {
        "online"
    }


def test_only_what_the_broker_confirmed_is_marked(pipe: Pipe) -> None:
    for number in range(4):
        pipe.send(f"u{number}", session=S0)
    pipe.settle()
    pipe.link.forgets = lambda topic: topic.endswith(("events/u2", "state/u1"))
    assert not pipe.outbox.relay()
    assert [row["confirmed_at"] is not None for row in dump(pipe.engine)["event"]] == [True, True, False, False]
    pipe.link.forgets = lambda topic: topic.endswith("state/u1")
    assert not pipe.outbox.relay()
    assert [row["published_rev"] for row in dump(pipe.engine)["presence"]][:2] == [1, 0]
    pipe.link.forgets = lambda _topic: False
    assert pipe.outbox.relay()
    assert all(row["published_rev"] == row["rev"] for row in dump(pipe.engine)["presence"])
    assert len(pipe.published("company/acme/events/u0")) == 1
    assert len(pipe.published("company/acme/events/u2")) == 2
    assert len({event["id"] for event in pipe.published("company/acme/events/u2")}) == 1


def test_a_store_that_fails_during_a_relay_loses_no_position(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe.send(session=S0, seq=0)
    pipe.settle()
    assert pipe.outbox.relay()
    pipe.send(session=S0, seq=1, latitude=7.0, longitude=7.0)
    pipe.settle()
    with monkeypatch.context() as patched:

        def fail(*_arguments: object) -> None:
            raise StoreFailed("locked")

        patched.setattr(Store, "next_states", fail)
        assert not pipe.outbox.relay()
    wait_until(lambda: pipe.outbox.relay() and pipe.published(STATE)[-1]["lastLatitude"] == 7.0)


def test_a_new_spell_greets_and_publishes_all_states_again_where_the_broker_kept_nothing(pipe: Pipe) -> None:
    assert pipe.outbox.relay()
    pipe.send(session=S0)
    pipe.settle()
    for resumed, greetings, states in ((True, 2, 1), (False, 3, 2)):
        pipe.link.spell = None
        assert not pipe.outbox.relay()
        pipe.link.spell = Spell(now(), resumed=resumed)
        assert pipe.outbox.relay()
        assert (len(pipe.published(topics.SERVICE)), len(pipe.published(STATE))) == (greetings, states)
    assert len(pipe.published(EVENTS)) == 1


def test_a_greeting_that_was_not_confirmed_is_said_again(pipe: Pipe) -> None:
    pipe.link.forgets = lambda topic: topic == topics.SERVICE
    assert not pipe.outbox.relay()
    pipe.link.forgets = lambda _topic: False
    assert pipe.outbox.relay()
    assert len(pipe.published(topics.SERVICE)) == 2


def test_one_outbox_relays_at_a_time_and_the_next_takes_over(engine: Engine) -> None:
    one, other = Pipe(engine, holder="one"), Pipe(engine, holder="other")
    assert one.outbox.relay()
    one.send(session=S0)
    one.settle()
    assert not other.outbox.relay()
    assert other.link.published == []
    one.outbox.stop()
    one.outbox.run()
    assert one.published(topics.SERVICE)[-1] == {"online": False}
    assert other.outbox.relay()
    assert types(other.published(EVENTS)) == ["user:online"]


def test_who_only_moved_is_announced_by_whoever_has_the_turn(engine: Engine) -> None:
    announces, other = Pipe(engine, holder="one"), Pipe(engine, holder="other")
    assert announces.outbox.relay()
    other.send(session=S0, latitude=1.0, longitude=1.0)
    other.settle()
    assert announces.outbox.relay()
    for latitude in (2.0, 3.0):
        other.send(session=S0, latitude=latitude, longitude=1.0)
        other.settle()
        assert not other.outbox.relay()
        assert announces.outbox.relay()
    assert [state["lastLatitude"] for state in announces.published(STATE)] == [1.0, 2.0, 3.0]
    assert other.link.published == []


def test_positions_are_coalesced_to_the_interval_over_all_workers_together(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    later, seconds = now() + timedelta(seconds=30), 100.0
    monkeypatch.setattr("ingest.outbox.time", SimpleNamespace(monotonic=lambda: seconds))
    announces, second, third = (
        Pipe(engine, interval_s=5.0, holder=holder, clock=lambda: later + timedelta(seconds=seconds))
        for holder in ("announces", "second", "third")
    )
    assert announces.outbox.relay()

    def report(pipe: Pipe, latitude: float, **fields: str) -> list[float]:
        pipe.send(session=S0, latitude=latitude, longitude=1.0, **fields)
        pipe.settle()
        for each in (announces, second, third, announces):
            each.outbox.relay()
        return [state["lastLatitude"] for state in announces.published(STATE)]

    assert report(second, 1.0) == report(third, 2.0) == report(announces, 3.0) == report(second, 4.0) == [1.0]
    assert report(third, 5.0, status="away") == [1.0, 5.0]
    seconds += 4.9
    assert report(second, 6.0, status="away") == report(third, 7.0, status="away") == [1.0, 5.0]
    seconds += 0.2
    assert report(third, 8.0, status="away") == report(second, 9.0, status="away") == [1.0, 5.0, 8.0]
    assert second.link.published == third.link.published == []


@pytest.mark.parametrize("hindered", ["another has the turn", "the broker is away"])
def test_an_outbox_that_cannot_announce_does_not_try_without_pause(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, hindered: str
) -> None:
    other, mine = Pipe(engine, holder="other"), Pipe(engine, holder="mine")
    assert (other if hindered == "another has the turn" else mine).outbox.relay()
    if hindered == "the broker is away":
        mine.link.spell = None
    mine.send(session=S0, latitude=1.0, longitude=1.0)
    mine.settle()
    pauses: list[float | None] = []

    def wait(timeout: float | None = None) -> bool:
        pauses.append(timeout)
        if len(pauses) == 3:
            mine.outbox.stop()
        return False

    monkeypatch.setattr(mine.outbox._wake, "wait", wait)
    mine.outbox.run()
    assert pauses[1:] == [0.5, 0.5]


def test_an_event_of_a_clock_that_ran_ahead_is_announced_all_the_same(pipe: Pipe) -> None:
    pipe.send(session=S0)
    pipe.settle()
    behind = Outbox(pipe.store, pipe.link, "me", "1.0", 0.0, lambda: datetime(2020, 1, 1, tzinfo=UTC))
    assert behind.relay()
    assert types(pipe.published(EVENTS)) == ["user:online"]
