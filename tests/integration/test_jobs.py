"""The schedule: each job when it is due, by one process at a time, and a failing one ends nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from broker.memory_link import MemoryLink
from ingest.jobs import Intervals, Jobs
from ingest.metrics import Metrics
from ingest.outbox import Outbox
from ingest.store import Store
from models.errors import StoreFailed
from tests.integration.pipe_lab import wait_until
from tests.integration.store_lab import SESSIONS, TERMS, beat, count, listen, told

FAST = Intervals(sweep_s=0.02, republish_s=0.02, prune_s=0.02, retention_days=30)


class Process:
    """What one process of several on a database has: a store, an outbox and the jobs; its clock can be put forward."""

    def __init__(self, engine: Engine, holder: str = "me", intervals: Intervals = FAST) -> None:
        self.ahead = timedelta()
        self.link = MemoryLink()
        self.metrics = Metrics()
        self.store = Store(engine, TERMS)
        self.outbox = Outbox(self.store, self.link, holder, "1.0", 0.0, self.now)
        self.jobs = Jobs(engine, self.store, self.outbox, self.metrics, intervals, holder, self.now)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def run_until(self, condition: Callable[[], bool]) -> None:
        thread = threading.Thread(target=self.jobs.run, name="jobs")
        thread.start()
        try:
            wait_until(condition)
        finally:
            self.jobs.stop()
            thread.join()

    @property
    def sweeps(self) -> int:
        return self.metrics.counters().get(("sweeps", ""), 0)


def fell_silent(engine: Engine, process: Process) -> None:
    """Let alice fall silent while somebody was listening."""
    heard = process.now() - TERMS.stale_after
    listen(process.store, engine, heard, process.now() + timedelta(days=100))
    process.store.write([beat(heard, session=SESSIONS[0])], heard)


def test_once_means_each_job_once(engine: Engine) -> None:
    process = Process(engine)
    fell_silent(engine, process)
    process.jobs.run_once()
    assert told(engine) == ["user:online", "user:offline"]
    assert process.sweeps == 1
    topics = [topic for topic, _, _ in process.link.published]
    assert topics.count("company/acme/events/alice") == 2
    assert topics.count("company/acme/presence/alice") == 1
    process.ahead = timedelta(days=31)
    process.jobs.run_once()
    assert count(engine, "history") == count(engine, "event") == 0


def test_without_a_retention_nothing_is_removed(engine: Engine) -> None:
    process = Process(engine, intervals=Intervals())
    fell_silent(engine, process)
    process.ahead = timedelta(days=10_000)
    process.jobs.run_once()
    assert count(engine, "history") == 1


def test_the_jobs_run_by_themselves_until_they_are_stopped(engine: Engine) -> None:
    process = Process(engine)
    fell_silent(engine, process)
    process.run_until(lambda: told(engine) == ["user:online", "user:offline"] and process.sweeps > 1)


def test_only_one_of_two_processes_sweeps_and_the_other_takes_over(engine: Engine) -> None:
    long = Intervals(sweep_s=0.02, republish_s=1000, prune_s=1000)
    one, other = Process(engine, "one", long), Process(engine, "other", long)
    assert one.store.take_turn("sweep", "one", one.now(), 1000)
    other.run_until(lambda: _has_tried(other))
    assert other.sweeps == 0
    one.store.end_turns("one")
    other = Process(engine, "other", long)
    other.run_until(lambda: other.sweeps > 0)


def _has_tried(process: Process) -> bool:
    job = next(job for job in process.jobs._scheduler.jobs if job.interval == 0.02)
    return job.last_run is not None


def test_a_job_that_fails_runs_again_and_says_once_that_it_failed_and_once_that_it_is_over(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(engine)
    failures = [StoreFailed("locked")] * 3
    take_turn = Store.take_turn

    def failing(store: Store, job: str, holder: str, now: datetime, for_s: float) -> bool:
        if failures and job == "sweep":
            raise failures.pop()
        return take_turn(store, job, holder, now, for_s)

    monkeypatch.setattr(Store, "take_turn", failing)
    with caplog.at_level(logging.INFO, "ingest.jobs"):
        process.run_until(lambda: process.sweeps > 1)
    said = [(record.__dict__["action"], record.__dict__["job"], record.getMessage()) for record in caplog.records]
    assert said == [
        ("job_failed", "sweep", "sweep: locked"),
        ("job_failed_over", "sweep", "sweep works again"),
    ]


def test_a_clock_that_is_put_back_holds_nothing_up(engine: Engine) -> None:
    process = Process(engine)
    for job in process.jobs._scheduler.jobs:
        assert job.next_run is not None
        job.next_run += timedelta(hours=1)
    process.run_until(lambda: process.sweeps > 0)
