"""Reads over HTTP while heartbeats are stored, and the rate of storing with and without them; among ten million positions.

python -m benchmarks.reads_under_load [--rows N] [--rate HB_PER_S] [--reads READS_PER_S] [--seconds S] [--json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.desks import Desks
from benchmarks.fleet_history import COMPANY_NAME, Fleet, fill
from benchmarks.load import Flow
from benchmarks.machine import machine
from benchmarks.parts import Rig
from benchmarks.servers import SECRET, Broker, broker, database, ingest, program
from benchmarks.stored import Rows
from broker.access import Role
from ingest.database import open_engine, upgrade
from ingest.partitions import Partitions, day_of, name_of
from tests.integration.plugged import token
from tests.servers import free_port

DAYS = 30
SERVER = ("shared_buffers = 2GB", "max_wal_size = 4GB")
_READY_WITHIN_S = 30.0

Publish = Callable[[Flow, Callable[[], int]], object]


@contextmanager
def web(on: Broker, database_url: str, directory: Path) -> Iterator[int]:
    """Run `fieldbeat web` until the end of the block, and yield its port once it answers."""
    port = free_port()
    named = {
        "broker_url": f"mqtt://127.0.0.1:{on.port}", "database_url": database_url, "data_dir": str(directory / "data"),
        "jwt_secret": SECRET, "log_level": "warning", "http_port": str(port),
    }  # fmt: skip
    environment = {f"FIELDBEAT_{name.upper()}": value for name, value in named.items()}
    with program([sys.executable, "-m", "cli.main", "web"], directory, environment):
        give_up = time.monotonic() + _READY_WITHIN_S
        while not _answers(port):
            if time.monotonic() > give_up:
                raise SystemExit("`fieldbeat web` did not start")
            time.sleep(0.05)
        yield port


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz"):
            return True
    except URLError:
        return False


@contextmanager
def filled(rows: int) -> Iterator[tuple[Rig, Desks]]:
    """Run everything on a database with so many ROWS of history, and the desks that will read them."""
    fleet = Fleet.of(rows, DAYS)
    with broker() as on, database(*SERVER) as server, tempfile.TemporaryDirectory() as own:
        url, home = server.url(), Path(own)
        engine = open_engine(url)
        upgrade(engine)
        fill(engine, fleet, workers=2)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM (ANALYZE)")
        today = day_of(datetime.now(UTC))
        with engine.begin() as connection:
            Partitions().ensure(connection, [today])
        engine.dispose()
        for part in ("ingest", "web"):
            (home / part).mkdir()
        with ingest(on, url, home / "ingest") as pid, web(on, url, home / "web") as port:
            stored = Rows(url, name_of(today))  # to count all the others as well would take seconds
            rig = Rig(on, stored, {"ingest": pid})
            desk = token("desk", Role.DASHBOARD, COMPANY_NAME, ttl_s=86_400)
            yield rig, Desks(port, desk, COMPANY_NAME, fleet.users, fleet.days, fleet.last)
            stored.close()


def measure(rig: Rig, desks: Desks, rate: float, reads: float, seconds: float, users: int) -> dict[str, Any]:
    """Read alone, store alone, and both at once: at RATE, then as fast as it goes."""
    spawn = multiprocessing.get_context("spawn")  # a process of its own: the generator shall not wait for the desks
    with rig.load(users).opened() as flow, ProcessPoolExecutor(1, mp_context=spawn) as pool:
        rig.push(flow, lambda room: flow.publish(flow.round, room=room))

        def at_rate(flow: Flow, _room: Callable[[], int]) -> object:
            return flow.publish(seconds=seconds, rate=rate)

        def flat_out(flow: Flow, room: Callable[[], int]) -> object:
            return flow.publish(seconds=seconds, room=room)

        def phase(publish: Publish, reading: Future[Any] | None) -> dict[str, Any]:
            part = rig.push(flow, lambda room: publish(flow, room))
            each = part.figures()["cpu_us_per_message"]
            found = {
                "stored_per_s": round(part.rate),
                "messages": part.messages,
                "cpu_us_each": each,
                "lost": part.lost,
            }
            return found if reading is None else {**found, "reads": reading.result()}

        return {
            "reads alone": {"reads": pool.submit(desks.read, reads, seconds).result()},
            f"{rate:,.0f}/s alone": phase(at_rate, None),
            f"{rate:,.0f}/s and reads": phase(at_rate, pool.submit(desks.read, reads, seconds)),
            "flat out alone": phase(flat_out, None),
            "flat out and reads": phase(flat_out, pool.submit(desks.read, reads, seconds)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rate", type=float, default=5_000.0, help="heartbeats a second")
    parser.add_argument("--reads", type=float, default=10.0, help="reads a second: roster, track and events in turn")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each phase")
    parser.add_argument("--users", type=int, default=5_000, help="who send heartbeats meanwhile")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    chosen = parser.parse_args()
    with filled(chosen.rows) as (rig, desks):
        found = measure(rig, desks, chosen.rate, chosen.reads, chosen.seconds, chosen.users)
    if chosen.json:
        print(json.dumps({"machine": machine(), "rows": chosen.rows, "users": chosen.users, **found}))
        return
    print(f"{machine()}\n{chosen.rows:,} positions before, {chosen.users:,} users, {chosen.reads:g} reads/s")
    for name, phase in found.items():
        stored = f"{phase['stored_per_s']:,} stored/s, {phase['lost']} lost" if "stored_per_s" in phase else ""
        each = ", ".join(f"{what} {us:.0f} µs" for what, us in phase.get("cpu_us_each", {}).items())
        print(f"{name:20} {stored} {each}")
        for kind, latency in phase.get("reads", {}).items():
            print(f"    {kind:16} p50 {latency['p50_ms']:.1f} ms, p99 {latency['p99_ms']:.1f} ms ({latency['reads']})")


if __name__ == "__main__":
    main()
