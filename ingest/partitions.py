"""The history's partitions on PostgreSQL, one for each UTC day of receipt: made before the rows of a day come, dropped whole."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, bindparam, text

_DAY = timedelta(days=1)
_LOCK = 0x66626861
"""The key of the advisory lock under which partitions are made."""

_EXISTING = text(
    "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = CAST('history' AS regclass)"
)
_TAKE_LOCK = text("SELECT pg_advisory_xact_lock(:key)").bindparams(bindparam("key", _LOCK))


def name_of(day: date) -> str:
    """Return the name of the partition of DAY."""
    return f"history_{day:%Y%m%d}"


def day_of(time: datetime) -> date:
    """Return the UTC day in which TIME is."""
    return time.astimezone(UTC).date()


class Partitions:
    """Which days are known to have a partition. Of no use on SQLite, and harmless there."""

    def __init__(self) -> None:
        self._known: set[date] = set()

    def ensure(self, connection: Connection, days: Iterable[date]) -> None:
        """Make what the rows of DAYS need, in the open transaction; before it has locked any row, or two workers may deadlock."""
        missing = set(days) - self._known
        if not missing or connection.dialect.name == "sqlite":
            return
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
