"""The history's partitions on PostgreSQL, one for each UTC day of receipt: made before the rows of a day come, dropped whole."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, DateTime, bindparam, column, delete, literal_column, table, text

_DAY = timedelta(days=1)
_LOCK = 0x66626861
"""The key of the advisory lock under which partitions are made."""

_EXISTING = text(
    "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = CAST('history' AS regclass)"
)
_TAKE_LOCK = text("SELECT pg_advisory_xact_lock(:key)").bindparams(bindparam("key", _LOCK))
_ROWS = text("SELECT reltuples FROM pg_class WHERE oid = CAST(:name AS regclass)")
_PAGES = text("SELECT pg_relation_size(CAST(:name AS regclass)) / current_setting('block_size')::bigint")


def name_of(day: date) -> str:
    """Return the name of the partition of DAY."""
    return f"history_{day:%Y%m%d}"


def day_of(time: datetime) -> date:
    """Return the UTC day in which TIME is."""
    return time.astimezone(UTC).date()


def days_of(times: Collection[datetime]) -> set[date]:
    """Return the UTC days in which TIMES are; nearly always there is one."""
    if not times:
        return set()
    first = day_of(min(times))
    return {first} if day_of(max(times)) == first else {day_of(time) for time in times}


class Partitions:
    """Which days are known to have a partition. Of no use on SQLite, and harmless there."""

    def __init__(self) -> None:
        self._known: set[date] = set()

    def lack(self, days: Collection[date]) -> bool:
        """Whether some of DAYS are not known to have a partition."""
        return not self._known.issuperset(days)

    def ensure(self, connection: Connection, days: Collection[date]) -> None:
        """Make what the rows of DAYS need, in the open transaction; before it has locked any row, or two workers may deadlock."""
        if not self.lack(days) or connection.dialect.name == "sqlite":
            return
        missing = set(days) - self._known
        # Known is only what was found: what is made here is rolled back when the transaction fails.
        self._known = existing(connection)
        if missing := missing - self._known:
            connection.execute(_TAKE_LOCK)
            for day in sorted(missing - existing(connection)):
                _make(connection, day)

    def forget(self) -> None:
        """Look again, after a transaction that failed: a partition may have been dropped."""
        self._known = set()


def existing(connection: Connection) -> set[date]:
    """Return the days that have a partition, none on SQLite."""
    if connection.dialect.name == "sqlite":
        return set()
    return {
        datetime.strptime(name.removeprefix("history_"), "%Y%m%d").replace(tzinfo=UTC).date()
        for name in connection.execute(_EXISTING).scalars()
    }


def _make(connection: Connection, day: date) -> None:
    # CREATE … PARTITION OF would lock readers out of the whole history, and wait for all of them; to attach locks out
    # only who else changes the partitions.
    name = name_of(day)
    limits = f"FROM ('{day}T00:00:00Z') TO ('{day + _DAY}T00:00:00Z')"
    connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE history INCLUDING DEFAULTS)")
    connection.exec_driver_sql(f"ALTER TABLE history ATTACH PARTITION {name} FOR VALUES {limits}")


def days_older_than(connection: Connection, time: datetime) -> list[date]:
    """Return the days that have a partition, and were over at TIME."""
    return sorted(day for day in existing(connection) if day < day_of(time))


def drop(connection: Connection, day: date, lock_timeout_ms: int) -> None:
    """Drop the partition of DAY; give up when somebody holds on to the history for longer, since all others wait behind us."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {lock_timeout_ms}")
    connection.exec_driver_sql(f"DROP TABLE {name_of(day)}")


def rows(connection: Connection, day: date) -> int:
    """Return how many rows the partition of DAY has: of many millions, by a sample."""
    connection.exec_driver_sql(f"ANALYZE {name_of(day)}")
    return int(connection.execute(_ROWS, {"name": name_of(day)}).scalar_one())


def pages(connection: Connection, day: date) -> int:
    """Return how many pages the partition of DAY has."""
    return int(connection.execute(_PAGES, {"name": name_of(day)}).scalar_one())


def delete_rows(connection: Connection, day: date, before: datetime, page: int, end: int) -> int:
    """Delete the rows received BEFORE a time, between one PAGE and the END of a stretch of the partition of DAY; return how many."""
    part = table(name_of(day), column("ctid"), column("received_at", DateTime(timezone=True)))
    stretch = part.c.ctid >= _place(page), part.c.ctid < _place(end)
    return connection.execute(delete(part).where(*stretch, part.c.received_at < before)).rowcount


def _place(page: int) -> ColumnElement[str]:
    return literal_column(f"CAST('({page},0)' AS tid)")
