"""The whole pipe without a network: what is stored is announced once, in order, and acknowledged only when it is stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine

from broker.link import Confirmation, Spell
from broker.memory_link import MemoryLink
from ingest.metrics import Metrics
from ingest.outbox import Outbox
from ingest.store import Outcome, Store, Written
from ingest.worker import Worker
from models import topics
from models.errors import LinkLost, StoreFailed, StoreRefused
from tests.integration.store_lab import SESSIONS, TERMS, count, dump, listen, only, told

PRESENCE = "company/acme/presence/alice"
STATE = "company/acme/state/alice"
EVENTS = "company/acme/events/alice"
S0, S1 = SESSIONS[:2]
WITHIN_S = 10.0


def now() -> datetime:
    return datetime.now(UTC)


class _Unconfirmed:
    def wait(self, timeout_s: float) -> bool:  # noqa: ARG002 nothing will come
        return False


class FlakyLink(MemoryLink):
    """A link that loses what is published, or the broker altogether, when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: Callable[[str], bool] = lambda _topic: False
        self.forgets: Callable[[str], bool] = lambda _topic: False

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Confirmation:
        if self.refuses(topic):
            raise LinkLost("the broker has gone")
        confirmation = super().publish(topic, payload, retain=retain)
        return _Unconfirmed() if self.forgets(topic) else confirmation


class FlakyStore(Store):
    """A store that fails, or refuses, when a test says so."""

    failures = 0
    refuses: Callable[[Sequence[Outcome]], bool] = staticmethod(lambda _outcomes: False)

    def write(self, outcomes: Sequence[Outcome], now: datetime) -> Written:
        if self.failures:
            self.failures -= 1
            raise StoreFailed("the disk is full")
        if self.refuses(outcomes):
            raise StoreRefused("the database refuses the batch: a poison row")
        return super().write(outcomes, now)


class Pipe:
    """One link, one store, and an outbox that the test drives; each worker is a new one."""

    def __init__(self, engine: Engine, link: FlakyLink | None = None, *, interval_s: float = 0.0, holder: str = "me") -> None:
        self.engine = engine
        self.link = link or FlakyLink()
        self.store = FlakyStore(engine, TERMS)
        self.metrics = Metrics()
        self.outbox = Outbox(self.store, self.link, holder, "1.0", interval_s, now)

    def send(self, user: str = "alice", channel: str = "presence", **fields: Any) -> None:  # noqa: ANN401 JSON
        self.link.send(f"company/acme/{channel}/{user}", msgspec.json.encode(fields))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the worker in a thread until the end of the block."""
        worker = Worker(self.link, self.store, self.outbox, self.metrics, now)
        thread = threading.Thread(target=worker.run, name="worker")
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join(WITHIN_S)
            assert not thread.is_alive()

    def settle(self) -> None:
        """Let the worker take all that is waiting."""
        with self.running():
            wait_until(lambda: self.link.unacked == 0 and self.link._arrivals.empty())

    def published(self, topic: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(payload) for where, payload, _ in self.link.published if where == topic]


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.002)


@pytest.fixture
def pipe(engine: Engine) -> Pipe:
    return Pipe(engine)


def types(announced: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in announced]


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


def test_positions_are_coalesced_to_the_interval_and_changes_are_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 100.0
    monkeypatch.setattr("ingest.outbox.time", SimpleNamespace(monotonic=lambda: seconds))
    pipe = Pipe(engine, interval_s=5.0)
    assert pipe.outbox.relay()

    def report(latitude: float, **fields: object) -> list[float]:
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


def test_nothing_is_acknowledged_before_it_is_stored_and_a_failing_store_is_tried_again(pipe: Pipe) -> None:
    pipe.store.failures = 2
    pipe.send(session=S0)
    with pipe.running():
        wait_until(lambda: pipe.metrics.gauges().get("store_failing") == 1)
        assert pipe.link.unacked == 1
        assert count(pipe.engine, "history") == 0
        wait_until(lambda: pipe.link.unacked == 0)
    assert pipe.metrics.gauges()["store_failing"] == 0
    assert told(pipe.engine) == ["user:online"]


def test_a_worker_that_is_stopped_while_the_store_fails_acknowledges_nothing(pipe: Pipe) -> None:
    pipe.store.failures = 1_000_000
    pipe.send(session=S0)
    with pipe.running():
        wait_until(lambda: pipe.metrics.gauges().get("store_failing") == 1)
    assert pipe.link.unacked == 1
    pipe.store.failures = 0
    pipe.settle()
    assert told(pipe.engine) == ["user:online"]


def test_a_poison_row_among_500_is_refused_alone_and_the_others_are_stored(pipe: Pipe) -> None:
    pipe.store.refuses = lambda outcomes: any(getattr(outcome, "user", "") == "u250" for outcome in outcomes)
    for number in range(500):
        pipe.send(f"u{number}", session=S0)
    pipe.settle()
    assert count(pipe.engine, "history") == 499
    refused = only(dump(pipe.engine)["rejected"])
    assert refused["topic"] == "company/acme/presence/u250"
    assert "poison" in refused["reason"]
    assert pipe.metrics.counters()["rejected", ""] == 1


def test_a_kill_between_commit_and_acknowledgement_doubles_nothing(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe.send(session=S0, seq=0, latitude=1.0, longitude=1.0)
    pipe.send(session=S0, latitude=2.0, longitude=2.0, projectId="p1")
    pipe.send(channel="status", message="On site")
    pipe.send(session=S0, type="offline", reason="signed_off")
    with monkeypatch.context() as patched:
        patched.setattr(Worker, "_acknowledge", lambda *_arguments: None)
        with pipe.running():
            wait_until(lambda: count(pipe.engine, "event") == 4)
    assert pipe.link.unacked == 4
    before = dump(pipe.engine)
    restarted = Pipe(pipe.engine, pipe.link, holder="another")
    restarted.settle()
    after = dump(pipe.engine)
    for table in ("history", "activity_log", "status_log", "event", "device_session", "rejected"):
        assert [{**row, "heard_at": None} for row in after[table]] == [{**row, "heard_at": None} for row in before[table]]
    restarted.outbox.relay()
    assert types(restarted.published(EVENTS)) == ["user:online", "activity:changed", "status:updated", "user:offline"]


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
    assert {state["status"] for number in range(5) for state in pipe.published(f"company/acme/state/u{number}")} == {"online"}


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


def test_an_event_of_a_clock_that_ran_ahead_is_announced_all_the_same(pipe: Pipe) -> None:
    pipe.send(session=S0)
    pipe.settle()
    with pipe.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE event SET recorded_at = (SELECT max(recorded_at) FROM event)")
    behind = Outbox(pipe.store, pipe.link, "me", "1.0", 0.0, lambda: datetime(2020, 1, 1, tzinfo=UTC))
    assert behind.relay()
    assert types(pipe.published(EVENTS)) == ["user:online"]


def test_garbage_is_kept_with_a_reason_and_the_next_good_message_is_stored(pipe: Pipe) -> None:
    for payload in (b"", b"[]", b"{", b'{"latitude":NaN,"longitude":1}', b"[" * 100_000, b"x" * 1_000_000, b'{"userId":"bob"}'):
        pipe.link.send(PRESENCE, payload)
    pipe.send(session=S0)
    pipe.settle()
    assert [row["size"] for row in dump(pipe.engine)["rejected"]] == [0, 2, 1, 30, 100_000, 1_000_000, 16]
    assert all(row["reason"] for row in dump(pipe.engine)["rejected"])
    assert told(pipe.engine) == ["user:online"]


def test_a_retained_message_is_no_sign_of_life(pipe: Pipe) -> None:
    pipe.link.send(PRESENCE, msgspec.json.encode({"session": S0}), retained=True)
    pipe.settle()
    assert count(pipe.engine, "history") == 0


def test_several_workers_on_one_database_store_each_message_once(engine: Engine) -> None:
    pipes = [Pipe(engine, holder=f"w{number}") for number in range(3)]
    for number in range(60):
        for pipe in pipes:
            # Each message goes to every worker, as with overlapping subscriptions.
            pipe.send(f"u{number % 7}", session=S0, seq=number, latitude=1.0, longitude=2.0)
    threads = [threading.Thread(target=pipe.settle, name=f"pipe {number}") for number, pipe in enumerate(pipes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(engine, "history") == 60
    assert count(engine, "event") == count(engine, "user_account") == 7
    assert sum(pipe.metrics.counters()["received", ""] for pipe in pipes) == 180
