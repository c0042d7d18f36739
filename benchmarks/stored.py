"""How many heartbeats have arrived: rows of a table, or lines of mosquitto_sub; and which are lost or there twice."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import create_engine, text

_LOOK_AGAIN_S = 0.1
_STALLED_S = 20.0
_NEARLY, _FEW = 0.95, 50_000
"""Only the end is worth counting rows, which takes a database's time; and so few rows take it next to none."""
_FRESH_S = 0.25
_INSERTED = text(
    "SELECT coalesce(sum(pg_stat_get_tuples_inserted(oid)), 0) FROM pg_class"
    " WHERE relkind = 'r' AND relname LIKE :pattern AND relpersistence = 'p'"
)
"""Costs nothing, and is up to a second behind."""
_BY_USER = text(
    "SELECT account.name, count(*), count(DISTINCT history.message) FROM history"
    " JOIN user_account AS account ON account.id = history.user_id GROUP BY account.name"
)


class Arrivals(Protocol):
    """Counts what has arrived."""

    def about(self) -> int:
        """Return how many at least, without disturbing anybody."""

    def exactly(self) -> int:
        """Return how many."""


class Lines:
    """Counts the lines, of one character each, that mosquitto_sub writes to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def about(self) -> int:
        return self._path.stat().st_size // 2

    exactly = about


class Rows:
    """Counts the committed rows of TABLE, whose partitions have names that begin with its own."""

    def __init__(self, url: str, table: str) -> None:
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")
        self._table = table
        self._looked, self._last = 0.0, 0

    def about(self) -> int:
        if time.monotonic() - self._looked > _FRESH_S:
            if self._engine.dialect.name == "postgresql":
                self._last = max(self._last, int(self._value(_INSERTED, pattern=f"{self._table}%")))
            else:
                self._last = self.exactly()
            self._looked = time.monotonic()
        return self._last

    def exactly(self) -> int:
        self._last = int(self._value(text(f"SELECT count(*) FROM {self._table}")))  # noqa: S608 our own names
        return self._last

    def verdict(self, sent: Mapping[int, int]) -> tuple[int, int]:
        """Return how many of the heartbeats that were SENT for each user Fieldbeat's history lacks, and how many it has twice."""
        with self._engine.connect() as connection:
            found = {name: (rows, different) for name, rows, different in connection.execute(_BY_USER)}
        lost = sum(count - min(count, found.get(f"u{user:07d}", (0, 0))[1]) for user, count in sent.items())
        return lost, sum(rows - different for rows, different in found.values())

    def close(self) -> None:
        self._engine.dispose()

    def _value(self, statement: Any, **values: str) -> Any:  # noqa: ANN401 SQLAlchemy's types say no more
        with self._engine.connect() as connection:
            return connection.execute(statement, values).scalar_one()


def wait_for(arrivals: Arrivals, messages: int) -> int:
    """Return how many arrived once all MESSAGES have, or once no more come."""
    seen, moved = -1, time.monotonic()
    while True:
        now = arrivals.about()
        if messages < _FEW or now > _NEARLY * messages:
            now = arrivals.exactly()
        if now >= messages or time.monotonic() - moved > _STALLED_S:
            return arrivals.exactly()
        if now != seen:
            seen, moved = now, time.monotonic()
        time.sleep(_LOOK_AGAIN_S)
