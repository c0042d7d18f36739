"""The schedule: sweep, republish, retention and counters; each job by one process at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import schedule
from sqlalchemy import Engine

from ingest.metrics import Metrics
from ingest.outbox import Outbox
from ingest.prune import prune
from ingest.store import Store
from ingest.sweep import sweep
from ingest.trouble import Trouble
from models.errors import FieldbeatError

log = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often each job runs, in seconds, and after how many days data goes (None: never)."""

    sweep_s: float = 5.0
    republish_s: float = 300.0
    prune_s: float = 3600.0
    count_s: float = 60.0
    retention_days: float | None = None


class Jobs:
    """Runs the jobs when they are due, in a thread of its own, until stopped."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        outbox: Outbox,
        metrics: Metrics,
        intervals: Intervals,
        holder: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._store = store
        self._outbox = outbox
        self._metrics = metrics
        self._intervals = intervals
        self._holder = holder
        self._clock = clock
        self._troubles = {name: Trouble(log, name, "job_failed", job=name) for name, _, _ in self._plan()}
        self._stop = threading.Event()
        self._scheduler = schedule.Scheduler()
        self._schedule()

    def _schedule(self) -> None:
        for name, every_s, job in self._plan():
            every = self._scheduler.every(every_s)  # type: ignore[arg-type] # fractions work as well
            every.seconds.do(self._run_job, name, every_s, job)

    def _plan(self) -> list[tuple[str, float, Callable[[], None]]]:
        return [
            ("sweep", self._intervals.sweep_s, self.sweep),
            ("republish", self._intervals.republish_s, self.republish),
            ("prune", self._intervals.prune_s, self.prune),
            ("count", self._intervals.count_s, self.count),
        ]

    def run(self) -> None:
        """Run what is due until stopped."""
        while not self._stop.wait(self._pause_s()):
            self._scheduler.run_pending()

    def run_once(self) -> None:
        """Run each job once; raise what goes wrong."""
        for _, _, job in self._plan():
            job()

    def stop(self) -> None:
        self._stop.set()

    def _pause_s(self) -> float:
        idle_s = self._scheduler.idle_seconds or 0.0
        if idle_s > min(every_s for _, every_s, _ in self._plan()):
            # `schedule` reads local time: when it is put back, everything would wait for that long.
            self._scheduler.clear()
            self._schedule()
        return min(_LONGEST_PAUSE_S, max(0.0, idle_s))

    def _run_job(self, name: str, every_s: float, job: Callable[[], None]) -> None:
        try:
            if self._store.take_turn(name, self._holder, self._clock(), 2 * every_s):
                job()
        except FieldbeatError as error:
            self._troubles[name].met(str(error))
        else:
            self._troubles[name].over()

    def sweep(self) -> None:
        """End the leases that have run out."""
        swept = sweep(self._store, self._clock())
        self._metrics.count("sweeps")
        self._metrics.count("swept_users", swept.users)
        if swept.events:
            log.info("swept %d users", swept.users, extra={"action": "swept", "events": swept.events})
        self._outbox.wake()

    def republish(self) -> None:
        """Publish again what no broker has confirmed."""
        self._outbox.relay()

    def prune(self) -> None:
        """Remove what is older than the retention."""
        if self._intervals.retention_days is not None:
            # To the midnight before: a partition then goes whole, and none is searched for old rows again and again.
            limit = self._clock() - timedelta(days=self._intervals.retention_days)
            prune(self._engine, limit.replace(hour=0, minute=0, second=0, microsecond=0))

    def count(self) -> None:
        """Count what an operator asks after."""
        for name, number in self._store.counts().items():
            self._metrics.gauge(name, number)
