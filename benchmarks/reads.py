"""Each read query among many rows: its plan, its time, and how many bytes a stored heartbeat takes, indexes included.

python -m benchmarks.reads [--rows N] [--days N] [--database sqlite|postgresql] [--partitions 90,365] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from benchmarks.fleet_history import COMPANY_NAME, MINUTES, SMALL_COMPANY, STARTS_AT, Fleet, fill
from benchmarks.machine import machine
from benchmarks.plans import plan_of
from ingest import history
from ingest.database import open_engine, upgrade
from ingest.partitions import Partitions
from ingest.prune import prune
from models import paging, people, queries
from models.standing import Terms
from models.worklog import activities
from tests.servers import postgresql

REPEATS = 40
PAGE = 1000
BATCH = 500
"""So many people, or messages that may be copies, the store asks for at once."""
SERVER = (
    "shared_buffers = 2GB", "work_mem = 64MB", "maintenance_work_mem = 256MB", "max_wal_size = 8GB", "wal_level = minimal",
    "max_wal_senders = 0", "effective_cache_size = 12GB", "random_page_cost = 1.1", "max_locks_per_transaction = 512",
)  # fmt: skip
"""Room for the rows; nothing waits for the disk, which matters to none of the reads."""

Read = Callable[[Connection, int], object]
"""Asks something of an open connection, something else for each number."""


def reads(fleet: Fleet) -> dict[str, Read]:
    """Return each query of the read side, by the name it goes by in the results."""
    now = fleet.last + STARTS_AT + timedelta(minutes=MINUTES)
    day, terms = timedelta(days=1), Terms()

    def user(turn: int) -> int:
        return turn * 7919 % fleet.users + 1

    def track(connection: Connection, turn: int, length: timedelta) -> object:
        since = fleet.last - (turn % fleet.days) * day
        return list(queries.track(connection, user(turn), since=since, until=since + length))

    def page(connection: Connection, turn: int) -> object:
        since = fleet.last - (turn % fleet.days) * day
        return paging.track_page(connection, user(turn), after=None, limit=PAGE, since=since, until=since + day)

    def following_page(connection: Connection, turn: int) -> object:
        place = paging.TrackPlace(fleet.last - fleet.days // 2 * day, 1, 0)
        return paging.track_page(connection, user(turn), after=place, limit=PAGE)

    def copies(connection: Connection, turn: int) -> object:
        some = range(turn, turn + BATCH)
        wanted = [(fleet.session_id(fleet.days - 1, one % fleet.users + 1), one % MINUTES) for one in some]
        return history.copies(connection, wanted, fleet.last)

    some = [user(turn) for turn in range(BATCH)]
    return {
        "roster, a page of 1,000": lambda c, _: queries.roster(c, COMPANY_NAME, now, terms, limit=PAGE),
        "members, 500 to write": lambda c, _: people.numbered(c, some, lock=c.dialect.name != "sqlite"),
        "track, a day": lambda c, turn: track(c, turn, day),
        "track, an hour": lambda c, turn: track(c, turn, STARTS_AT + timedelta(hours=1)),
        "track, seven days": lambda c, turn: track(c, turn, 7 * day),
        "track_page, a day": page,
        "track_page, from the middle on": following_page,
        "recent_messages, 20": lambda c, turn: queries.recent_messages(c, user(turn), 20),
        "activities of a user, a day": lambda c, turn: list(
            activities(c, COMPANY_NAME, f"u{user(turn):06d}", now - day, now)
        ),
        "events, newest 100": lambda c, _: queries.events(c, COMPANY_NAME, limit=100, newest=True),
        "events of a user, newest 100": lambda c, turn: queries.events(
            c, COMPANY_NAME, user=f"u{user(turn):06d}", limit=100, newest=True
        ),
        "events of a company with one, newest 100": lambda c, _: queries.events(
            c, SMALL_COMPANY, limit=100, newest=True
        ),
        "newest_events, a page of 1,000": lambda c, _: paging.newest_events(
            c, COMPANY_NAME, user=None, before=None, limit=PAGE
        ),
        "due_users, 1,000": lambda c, _: queries.due_users(c, now + timedelta(hours=1), PAGE),
        "unpublished": lambda c, _: queries.unpublished(c, 500),
        "unconfirmed_events": lambda c, _: queries.unconfirmed_events(c, None, 500),
        "copies, 500": copies,
    }


def measure(engine: Engine, read: Read) -> dict[str, Any]:
    """Return the times of READ in ms, and the plans of its statements."""
    times: list[float] = []
    with engine.connect() as connection:
        for turn in range(REPEATS):
            began = time.perf_counter()
            read(connection, turn)
            times.append((time.perf_counter() - began) * 1000)
            connection.rollback()
        with listened(engine) as statements:
            read(connection, REPEATS)
        connection.rollback()
        plans = [plan_of(connection, *statement) for statement in dict(statements).items()]
    ordered = sorted(times)
    return {
        "first_ms": round(times[0], 2), "p50_ms": round(statistics.median(times), 2),
        "p99_ms": round(ordered[REPEATS * 99 // 100], 2), "plans": plans,
    }  # fmt: skip


@contextmanager
def listened(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that are executed, each with its parameters."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:  # noqa: ANN401 the driver's
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def size(engine: Engine) -> dict[str, int]:
    """Return the bytes of the history: all of it, and the part that is indexes beside the rows."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            pages = "SELECT name, sum(pgsize) FROM dbstat WHERE name LIKE '%history%' GROUP BY name"
            found: dict[str, int] = {row[0]: row[1] for row in connection.exec_driver_sql(pages)}
            return {"total": sum(found.values()), "indexes": sum(found.values()) - found["history"]}
        partitions = (
            "SELECT sum(pg_total_relation_size(relid))::bigint, sum(pg_indexes_size(relid))::bigint"
            " FROM pg_partition_tree('history') WHERE isleaf"
        )
        total, indexes = connection.execute(text(partitions)).one()
        return {"total": total, "indexes": indexes}


def more_partitions(engine: Engine, fleet: Fleet, wanted: int) -> None:
    """Make empty days before the fleet's first one until there are WANTED."""
    oldest = fleet.last - timedelta(days=fleet.days)
    with engine.begin() as connection:
        days = [(oldest - timedelta(days=number)).date() for number in range(wanted - fleet.days)]
        Partitions().ensure(connection, days)


def run(engine: Engine, fleet: Fleet, partitions: list[int]) -> dict[str, Any]:
    """Fill the database and measure every read; then some again with so many PARTITIONS."""
    upgrade(engine)
    began = time.perf_counter()
    on_postgresql = engine.dialect.name == "postgresql"
    fill(engine, fleet, workers=2 if on_postgresql else 1)
    filled = time.perf_counter() - began
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM (ANALYZE)" if on_postgresql else "ANALYZE")
    bytes_ = size(engine)
    found: dict[str, Any] = {
        "rows": fleet.rows, "users": fleet.users, "days": fleet.days, "filled_s": round(filled),
        "bytes_a_heartbeat": {name: round(value / fleet.rows, 1) for name, value in bytes_.items()},
    }  # fmt: skip
    asked = reads(fleet)
    found["reads"] = {name: measure(engine, read) for name, read in asked.items()}
    over_time = {
        name: read for name, read in asked.items() if "track" in name or name in ("recent_messages, 20", "copies, 500")
    }
    found["partitions"] = {}
    for wanted in partitions:
        more_partitions(engine, fleet, wanted)
        found["partitions"][wanted] = {name: measure(engine, read) for name, read in over_time.items()}
    found["retention"] = retain(engine, fleet)
    return found


def retain(engine: Engine, fleet: Fleet) -> dict[str, Any]:
    """Remove the fleet's first day, and return the rows by table with the seconds that it took."""
    began = time.perf_counter()
    gone = prune(engine, fleet.last - timedelta(days=fleet.days - 2))
    return {"seconds": round(time.perf_counter() - began, 2), **gone}


@contextmanager
def database(kind: str) -> Iterator[Engine]:
    """Open an empty database of KIND; on SQLite with memory and without waiting for the disk, until it is filled."""
    if kind == "postgresql":
        with postgresql(SERVER) as server, opened(server.url()) as engine:
            yield engine
        return
    with tempfile.TemporaryDirectory() as directory, opened(f"sqlite:///{Path(directory)}/reads.db") as engine:
        yield engine


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--partitions", default="", help="measure again with so many, as in 90,365; PostgreSQL only")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    chosen = parser.parse_args()
    partitions = [int(one) for one in chosen.partitions.split(",") if one]
    with database(chosen.database) as engine:
        found = run(engine, Fleet.of(chosen.rows, chosen.days), partitions)
    if chosen.json:
        print(json.dumps({"machine": machine(), "database": chosen.database, **found}, indent=1))
        return
    sizes = found["bytes_a_heartbeat"]
    print(f"{machine()}\n{found['rows']:,} rows of {found['users']:,} users on {found['days']} days, {chosen.database}")
    print(f"{sizes['total']} bytes a heartbeat, {sizes['indexes']} of them in indexes beside the rows")
    print(f"a day's retention: {found['retention']}")
    show(found["reads"])
    for count, figures in found["partitions"].items():
        print(f"\nwith {count} partitions")
        show(figures)


def show(figures: dict[str, dict[str, Any]]) -> None:
    for name, figure in figures.items():
        print(f"{name:40} first {figure['first_ms']:8.2f}  p50 {figure['p50_ms']:8.2f}  p99 {figure['p99_ms']:8.2f} ms")
        for plan in figure["plans"]:
            print("\n".join(f"    {line}" for line in plan["steps"]))
            if "planning_ms" in plan:
                print(f"    planning {plan['planning_ms']} ms, execution {plan['execution_ms']} ms")


if __name__ == "__main__":
    main()
