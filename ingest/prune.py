"""Retention: what is older than wanted goes, in slices that hold nobody up; what is current stays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Engine, Table, delete, func, select, tuple_

from ingest.dialect import Dialect
from models.queries import ACTIVITY, EVENT, HISTORY, REJECTED, SESSION, STATUS

SLICE = 5000
"""How many rows one transaction removes."""

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
        gone[name] = _count(dialect, target) if dry_run else _remove(dialect, target, progress)
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
