"""The contenders of `end_to_end.py`, each from Mosquitto to where its heartbeats end up, under the same load."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import mq_bridge, row_at_a_time
from benchmarks.load import Flow, Load
from benchmarks.processes import watched
from benchmarks.servers import FILTER, Broker, broker, database, ingest, program, service_token
from benchmarks.stored import Arrivals, Lines, Rows, wait_for
from tests.servers import program as installed

WAITING = 50_000
"""So many heartbeats at the most are on their way at once: what is measured is a service that keeps up."""
WAITING_FOR_THE_SCRIPT = 1_000
CLIENTS, WINDOW = 8, 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How the load is: for SECONDS, for so many USERS."""

    seconds: float
    users: int
    waiting: int = WAITING


@dataclass(frozen=True, slots=True)
class Part:
    """What came out: RATE is heartbeats a second from the first publication to the last arrival."""

    rate: float
    messages: int
    seconds: float
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    peak_mib: Mapping[str, float] = field(default_factory=dict)
    lost: int = 0
    twice: int = 0

    def figures(self) -> dict[str, Any]:
        """Return it for JSON."""
        each = {name: round(spent / max(self.messages, 1) * 1e6, 1) for name, spent in self.cpu_s.items()}
        return {
            "rate": round(self.rate), "messages": self.messages, "seconds": round(self.seconds, 2), "lost": self.lost,
            "twice": self.twice, "cpu_s": self.cpu_s, "cpu_us_per_message": each, "peak_mib": self.peak_mib,
        }  # fmt: skip


def costs(figures: Mapping[str, Any]) -> str:
    """Return what each process took, in one line."""
    each, memory = figures["cpu_us_per_message"], figures["peak_mib"]
    return " · ".join(
        f"{name} {spent:.1f} s ({each[name]:.0f} µs each), {memory[name]:.0f} MiB"
        for name, spent in figures["cpu_s"].items()
    )


@dataclass(frozen=True, slots=True)
class Rig:
    """A contender that is ready to read."""

    broker: Broker
    arrivals: Arrivals
    pids: Mapping[str, int]

    def load(self, users: int) -> Load:
        return Load(self.broker.port, "load", service_token("load"), CLIENTS, users, WINDOW)

    def push(self, flow: Flow, publish: Callable[[Callable[[], int]], object], waiting: int = WAITING) -> Part:
        """Have PUBLISH publish on FLOW as much as there is room for, and return what came of it."""
        already, before = flow.sent, self.arrivals.exactly()

        def room() -> int:
            return waiting - (flow.sent - already) + (self.arrivals.about() - before)

        with watched({"generator": os.getpid(), "mosquitto": self.broker.pid, **self.pids}) as costs:
            began = time.perf_counter()
            publish(room)
            sent = flow.sent - already
            arrived = wait_for(self.arrivals, before + sent) - before
            seconds = time.perf_counter() - began
        return Part(
            arrived / seconds,
            sent,
            seconds,
            costs.cpu_s,
            costs.peak_mib,
            max(0, sent - arrived),
            max(0, arrived - sent),
        )

    def run(self, plan: Plan) -> Part:
        with self.load(plan.users).opened() as flow:
            part = self.push(flow, lambda room: flow.publish(seconds=plan.seconds, room=room), plan.waiting)
            return self.checked(part, flow)

    def checked(self, part: Part, flow: Flow) -> Part:
        """Return PART with what Fieldbeat's history lacks and has twice; of the others only the number is known."""
        if "ingest" not in self.pids or not isinstance(self.arrivals, Rows):
            return part
        lost, twice = self.arrivals.verdict(flow.per_user())
        return replace(part, lost=lost, twice=twice)


@contextmanager
def limit() -> Iterator[Rig]:
    """Mosquitto to mosquitto_sub, which writes one character a message: nobody stores anything."""
    with broker() as on, _directory() as own:
        lines = own / "lines"
        login = ["-i", "fieldbeat:limit", "-u", "limit", "-P", service_token("limit")]
        words = ["-h", "127.0.0.1", "-p", str(on.port), "-q", "1", "-t", FILTER, "-F", "x", *login]
        with program([installed("mosquitto_sub"), *words], own, {}, lines) as pid:
            on.wait_for_subscriber()
            yield Rig(on, Lines(lines), {"mosquitto_sub": pid})


@contextmanager
def on_postgresql(*lines: str) -> Iterator[tuple[Rig, str]]:
    """Run `fieldbeat ingest` on PostgreSQL with LINES of configuration; the URL of the database comes with it."""
    with (
        broker() as on,
        database(*lines) as server,
        _directory() as own,
        ingest(on, server.url(), own) as pid,
        _rows(server.url(), "history") as rows,
    ):
        yield Rig(on, rows, {"ingest": pid, "postgresql": server.pid}), server.url()


@contextmanager
def fieldbeat() -> Iterator[Rig]:
    """Run `fieldbeat ingest` on PostgreSQL as it comes."""
    with on_postgresql() as (rig, _):
        yield rig


@contextmanager
def on_sqlite() -> Iterator[Rig]:
    """Run `fieldbeat ingest` on SQLite."""
    with broker() as on, _directory() as own:
        url = f"sqlite:///{own}/fieldbeat.db"
        with ingest(on, url, own) as pid, _rows(url, "history") as rows:
            yield Rig(on, rows, {"ingest": pid})


@contextmanager
def script_on_postgresql() -> Iterator[Rig]:
    with broker() as on, database() as server, _script(on, server.url()) as (pid, rows):
        yield Rig(on, rows, {"script": pid, "postgresql": server.pid})


@contextmanager
def script_on_sqlite() -> Iterator[Rig]:
    with broker() as on, _directory() as own, _script(on, f"sqlite:///{own}/script.db") as (pid, rows):
        yield Rig(on, rows, {"script": pid})


@contextmanager
def bridge(times: mq_bridge.Times, concurrency: int) -> Iterator[Rig]:
    """Run mq-bridge with so many batches at once; raise `NotInstalled` where it cannot be had."""
    python = mq_bridge.interpreter()
    with broker() as on, database() as server, _directory() as own:
        mq_bridge.create_table(server, times)
        route = mq_bridge.route(on.port, service_token("bridge"), FILTER, server, times, concurrency)
        with program([python, "-c", mq_bridge.RUN], own, {"ROUTE": route}) as pid:
            on.wait_for_subscriber()
            with _rows(server.url(), mq_bridge.TABLE) as rows:
                yield Rig(on, rows, {"mq_bridge": pid, "postgresql": server.pid})


@contextmanager
def _script(on: Broker, url: str) -> Iterator[tuple[int, Rows]]:
    command = [sys.executable, "-m", row_at_a_time.__name__, str(on.port), url]
    with _directory() as own, program(command, own, {"BENCHMARK_TOKEN": service_token("script")}) as pid:
        on.wait_for_subscriber()
        with _rows(url, "script_position") as rows:
            yield pid, rows


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as own:
        yield Path(own)


@contextmanager
def _rows(url: str, table: str) -> Iterator[Rows]:
    rows = Rows(url, table)
    try:
        yield rows
    finally:
        rows.close()
