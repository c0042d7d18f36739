"""The whole pipe without a network: nothing is acknowledged before it is stored, and nothing stops it."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine

from ingest.worker import Worker
from models.errors import Refusal
from tests.integration.pipe_lab import EVENTS, PRESENCE, S0, FlakyStore, Pipe, types, wait_until
from tests.integration.store_lab import TERMS, count, dump, only, told


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
    assert pipe.metrics.counters()["rejected", Refusal.UNSTORABLE] == 1


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
        assert [{**row, "heard_at": None} for row in after[table]] == [
            {**row, "heard_at": None} for row in before[table]
        ]
    restarted.outbox.relay()
    assert types(restarted.published(EVENTS)) == ["user:online", "activity:changed", "status:updated", "user:offline"]


def test_garbage_is_kept_with_a_reason_and_the_next_good_message_is_stored(pipe: Pipe) -> None:
    for payload in (
        b"",
        b"[]",
        b"{",
        b'{"latitude":NaN,"longitude":1}',
        b"[" * 100_000,
        b"x" * 1_000_000,
        b'{"userId":"bob"}',
    ):
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


def test_what_is_refused_is_counted_by_class_and_every_message_by_its_own_lag(pipe: Pipe) -> None:
    pipe.store = FlakyStore(pipe.engine, TERMS, enrol=False)
    for payload in (b"{", b'{"battery": 101}', b'{"userId": "bob"}', b'{"_type": "cmd"}', b" " * 20_000, b"{}"):
        pipe.link.send(PRESENCE, payload)
    pipe.link.send("company/a b/presence/alice", b"{}")
    pipe.settle()
    refused = {label: times for (name, label), times in pipe.metrics.counters().items() if name == "rejected"}
    assert refused == dict.fromkeys(set(Refusal) - {Refusal.UNSTORABLE}, 1)
    assert sum(pipe.metrics.observed("lag_s").buckets) == 7


def test_what_comes_after_newer_messages_of_its_session_is_counted_as_late(pipe: Pipe) -> None:
    said: list[dict[str, Any]] = [{"seq": 1}, {"seq": 5}, {"seq": 3}, {"seq": 5}, {"seq": 6}, {}]
    for fields in said:
        pipe.send(session=S0, **fields)
        pipe.settle()
    counted = {name: times for (name, _), times in pipe.metrics.counters().items()}
    assert (counted["stored"], counted["late"], counted["duplicates"]) == (5, 1, 1)
