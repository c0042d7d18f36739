"""A sweep that finds the same number of due leases among few and among many: the cost must follow the number that is due."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, insert

from benchmarks.machine import machine
from ingest.database import for_writing, open_engine, upgrade
from ingest.store import Store
from ingest.sweep import sweep
from models.facts import Session, Stamp, Status, Word
from models.queries import COMPANY, DEVICE, LISTENING, PRESENCE, SESSION, USER
from models.rows import PERSON_FACTS, SESSION_FACTS, person_row, session_row
from models.standing import Announced, Person, Terms

WANTED_RATIO = 2.0
TERMS = Terms()
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
_PAGE = 20_000


def fill(engine: Engine, leases: int, due: int, rounds: int) -> None:
    """Make LEASES users who are online; in each of ROUNDS minutes from NOW, DUE of them, spread over all, fall silent."""
    upgrade(engine)
    with for_writing(engine).begin() as connection:
        connection.execute(insert(COMPANY), {"id": 1, "name": "acme", "enrolled_at": NOW})
        connection.execute(
            insert(LISTENING), {"id": 1, "since": NOW - timedelta(days=1), "until": NOW + timedelta(days=1)}
        )
        stride = max(1, leases // (due * rounds))
        for start in range(0, leases, _PAGE):
            _insert(
                connection,
                [_lease(number, stride, due * rounds, due) for number in range(start, min(leases, start + _PAGE))],
            )
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")


def _lease(number: int, stride: int, ending: int, due: int) -> tuple[Session, Person]:
    """Return the NUMBERth user's session, and the user."""
    place = number // stride
    ends = NOW + (timedelta(minutes=place // due) if number % stride == 0 and place < ending else timedelta(hours=12))
    heard = ends - TERMS.stale_after
    session = Session("phone", "01KAN98D00QJ9Z3V6W8X2Y4T5R", heard, heard=heard, word=Word(Stamp(heard), Status.ONLINE))
    said = Announced(Status.ONLINE, since=heard, devices=(("phone", "online"),))
    return session, Person({session.key: session}, announced=said, rev=1, due=ends)


def _insert(connection: Connection, leases: list[tuple[Session, Person]]) -> None:
    first = connection.exec_driver_sql("SELECT coalesce(max(id), 0) + 1 FROM user_account").scalar_one()
    numbered = list(enumerate(leases, first))
    tables: list[tuple[Table, list[dict[str, object]]]] = [
        (USER, [{"id": number, "company_id": 1, "name": f"u{number}", "enrolled_at": NOW} for number, _ in numbered]),
        (DEVICE, [{"id": number, "user_id": number, "name": "phone", "enrolled_at": NOW} for number, _ in numbered]),
        (SESSION, [
            {"id": number, "user_id": number, "device_id": number, "token": session.id}
            | dict(zip(SESSION_FACTS, session_row(session), strict=True))
            for number, (session, _) in numbered
        ]),
        (PRESENCE, [
            {"user_id": number, "rev": 1, "published_rev": 1} | dict(zip(PERSON_FACTS, person_row(person), strict=True))
            for number, (_, person) in numbered
        ]),
    ]  # fmt: skip
    for table, rows in tables:
        connection.execute(insert(table), rows)


def measure(store: Store, due: int, turn: int) -> float:
    """Return the seconds of the sweep that finds what is due in minute TURN."""
    began = time.perf_counter()
    swept = sweep(store, NOW + timedelta(minutes=turn))
    seconds = time.perf_counter() - began
    if (swept.users, swept.events) != (due, 2 * due):
        raise SystemExit(f"{swept} where {due} were due")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--due", type=int, default=1_000)
    parser.add_argument(
        "--passes", type=int, default=9, help="how often, in turns, after a first one that is not counted"
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        engines = [open_engine(f"sqlite:///{Path(directory)}/{leases}.db") for leases in (chosen.few, chosen.many)]
        for engine, leases in zip(engines, (chosen.few, chosen.many), strict=True):
            fill(engine, leases, chosen.due, chosen.passes + 1)
        stores = [Store(engine, TERMS) for engine in engines]
        seconds = [[measure(store, chosen.due, turn) for store in stores] for turn in range(chosen.passes + 1)][1:]
        for engine in engines:
            engine.dispose()
    # A service sweeps every few seconds: the first sweep after its start is not the one that matters.
    few_s, many_s = (sorted(column)[chosen.passes // 2] for column in zip(*seconds, strict=True))
    if chosen.json:
        figures = {
            "few_ms": round(few_s * 1e3, 1),
            "many_ms": round(many_s * 1e3, 1),
            "ratio": round(many_s / few_s, 2),
        }
        print(json.dumps({"machine": machine(), "wanted_ratio": WANTED_RATIO, **figures}))
        return
    print(f"{machine()}\na sweep that ends {chosen.due:,} leases, SQLite")
    print(f"among {chosen.few:>9,}  {few_s * 1e3:>7.0f} ms")
    print(f"among {chosen.many:>9,}  {many_s * 1e3:>7.0f} ms")
    print(f"ratio {many_s / few_s:>19.2f} of at most {WANTED_RATIO:.0f}")


if __name__ == "__main__":
    main()
