"""Retention: what is older than wanted goes, in slices that hold nobody up, or in whole partitions; what is current stays."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Engine, Table, delete, func, select, tuple_
from sqlalchemy.exc import DBAPIError

from ingest import partitions
from ingest.dialect import Dialect
from models.errors import StoreFailed
from models.queries import ACTIVITY, EVENT, HISTORY, REJECTED, SESSION, STATUS

log = logging.getLogger(__name__)

SLICE = 5000
"""How many rows one transaction removes."""
PAGES = 50
"""How many pages of a partition one transaction looks through, some thousands of rows."""

_LOCK_TIMEOUT_MS = 200
"""Everybody who wants the history waits behind us for that long, if somebody reads it for longer."""
_TRIES = 10
_LOCK_NOT_AVAILABLE = "55P03"

Progress = Callable[[str, int], None]
"""Is told the name of a table, and how many of its rows have gone so far."""


class _Target(NamedTuple):
    table: Table
    where: tuple[ColumnElement[bool], ...]


def prune(
    engine: Engine, older_than: datetime, *, dry_run: bool = False, progress: Progress | None = None
) -> dict[str, int]:
    """Remove history, logs, confirmed events, refused messages and finished sessions from before OLDER_THAN.

    What each user works on, and the newest session of each device, stay however old they are. Returns rows by table.
    """
    dialect = Dialect(engine)
    gone = {}
    for target in _targets(older_than):
        name = target.table.name
        if dry_run:
            gone[name] = _count(dialect, target)
        elif target.table is HISTORY and engine.dialect.name == "postgresql":
            gone[name] = _remove_days(dialect, older_than, progress)
        else:
            gone[name] = _remove(dialect, target, progress)
    return gone


def _targets(older_than: datetime) -> list[_Target]:
    later = ACTIVITY.alias("later")
    # An interval is read off two neighbours: of the old statements the last one still says what came after it.
    outlived = select(later.c.user_id).where(
        later.c.user_id == ACTIVITY.c.user_id, later.c.at > ACTIVITY.c.at, later.c.at < older_than
    )
    told = select(HISTORY.c.session_id).where(HISTORY.c.session_id == SESSION.c.id)
    return [
        _Target(HISTORY, (HISTORY.c.received_at < older_than,)),
        _Target(ACTIVITY, (ACTIVITY.c.at < older_than, outlived.exists())),
        _Target(STATUS, (STATUS.c.set_at < older_than,)),
        _Target(EVENT, (EVENT.c.recorded_at < older_than, EVENT.c.confirmed_at.is_not(None))),
        _Target(REJECTED, (REJECTED.c.received_at < older_than,)),
        _Target(SESSION, (SESSION.c.superseded_at < older_than, ~told.exists())),
    ]


def _count(dialect: Dialect, target: _Target) -> int:
    with dialect.reading() as connection:
        return connection.execute(select(func.count()).select_from(target.table).where(*target.where)).scalar_one()


def _remove(dialect: Dialect, target: _Target, progress: Progress | None) -> int:
    keys = list(target.table.primary_key.columns)
    doomed = select(*keys).where(*target.where).limit(SLICE)
    gone = 0
    while True:
        with dialect.writing() as connection:
            removed = connection.execute(delete(target.table).where(tuple_(*keys).in_(doomed))).rowcount
        gone += removed
        if progress is not None:
            progress(target.table.name, gone)
        if removed < SLICE:
            return gone


def _remove_days(dialect: Dialect, older_than: datetime, progress: Progress | None) -> int:
    """Drop the history's partitions from before OLDER_THAN, and delete the rows of its last day that are."""
    with dialect.reading() as connection:
        days = partitions.days_older_than(connection, older_than)
        has_rest = partitions.day_of(older_than) in partitions.existing(connection)
    gone = 0
    for day in days:
        gone += _drop(dialect, day)
        if progress is not None:
            progress(HISTORY.name, gone)
    return gone + _remove_rest(dialect, older_than) if has_rest else gone


def _drop(dialect: Dialect, day: date) -> int:
    """Drop the partition of DAY, and return how many rows went; leave it for the next time when somebody reads all along."""
    with dialect.reading() as connection:
        rows = partitions.rows(connection, day)
    for _ in range(_TRIES):
        try:
            with dialect.writing() as connection:
                partitions.drop(connection, day, _LOCK_TIMEOUT_MS)
        except StoreFailed as error:
            if not _timed_out(error):
                raise
        else:
            return rows
    log.warning("%s is being read; it stays for now", partitions.name_of(day), extra={"action": "prune_put_off"})
    return 0


def _timed_out(error: StoreFailed) -> bool:
    cause = error.__cause__
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE


def _remove_rest(dialect: Dialect, older_than: datetime) -> int:
    """Delete the rows from before OLDER_THAN in the partition of its day: one walk through its pages, some at a time."""
    day = partitions.day_of(older_than)
    with dialect.reading() as connection:
        pages = partitions.pages(connection, day)
    gone = 0
    for page in range(0, pages, PAGES):
        with dialect.writing() as connection:
            gone += partitions.delete_rows(connection, day, older_than, page, page + PAGES)
    return gone
