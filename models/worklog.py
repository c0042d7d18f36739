"""What users worked on, from when to when: intervals, read off neighbouring statements of the activity log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, Struct
from msgspec.structs import replace
from sqlalchemy import Connection, RowMapping, Select, literal, select, tuple_

from models.queries import ACTIVITY, COMPANY, STREAMED, USER
from models.tables import UtcDateTime

MOST_READ = 10_000
"""How many statements one page reads at most: heartbeats repeat the activity, so that an interval may be made of many."""

_ORDER = ACTIVITY.c.at, ACTIVITY.c.received_at, ACTIVITY.c.digest
Time = Annotated[datetime, Meta(tz=True)]


class Interval(Struct, frozen=True, gc=False):
    """A stretch of one activity; it has no end while it goes on."""

    user: str
    project: str
    task: str | None
    start: datetime
    end: datetime | None


class Place(NamedTuple):
    """Where in a user's log a page ended: the last statement that it read, and since when the activity in it has gone on."""

    at: Time
    received: Time
    digest: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    start: Time


class Page(NamedTuple):
    """Some intervals, and where the next ones follow; that there are few of them, or none, does not mean that none follow."""

    intervals: list[Interval]
    following: Place | None


class Reader:
    """Reads intervals off statements by user and time: those that overlap the time from SINCE to UNTIL.

    The activity in the first statement may have gone on since START already.
    """

    def __init__(self, since: datetime | None, until: datetime | None, start: datetime | None = None) -> None:
        self._since = since
        self._until = until
        self._start = start
        self._open: Interval | None = None

    def read(self, user: str, row: RowMapping) -> list[Interval]:
        """Take USER's next statement; return the interval that it ends, if it ends one."""
        at, project, task = row["at"], row["project"], row["task"]
        going, start = self._open, self._start or at
        self._start = None
        if going is not None and (going.user, going.project, going.task) == (user, project, task):
            return []
        begins = project is not None and not self._is_over(at)
        self._open = Interval(user, project, task, start, None) if begins else None
        if going is None:
            return []
        ended = replace(going, end=at) if going.user == user else going
        return [ended] if self._since is None or ended.end is None or ended.end > self._since else []

    def rest(self) -> list[Interval]:
        """Return the interval that no statement has ended."""
        return [] if self._open is None else [self._open]

    def has_read_all(self, row: RowMapping) -> bool:
        """Whether after ROW there is nothing more to be learnt of its user."""
        return self._open is None and self._is_over(row["at"])

    def place(self, row: RowMapping) -> Place:
        """Return the place of ROW, which was read last."""
        return Place(
            row["at"], row["received_at"], row["digest"], row["at"] if self._open is None else self._open.start
        )

    def _is_over(self, at: datetime) -> bool:
        return self._until is not None and at >= self._until


def activities(
    connection: Connection, company: str, user: str | None, since: datetime | None, until: datetime | None
) -> Iterator[Interval]:
    """Yield the activities that overlap the time from SINCE to UNTIL, by user and time; the log streams."""
    rows = (
        select(USER.c.name.label("user"), ACTIVITY)
        .join_from(ACTIVITY, USER, ACTIVITY.c.user_id == USER.c.id)
        .join(COMPANY)
        .where(COMPANY.c.name == company)
        .order_by(USER.c.name, *_ORDER)
    )
    if user is not None:
        rows = rows.where(USER.c.name == user)
    reader = Reader(since, until)
    for row in connection.execute(rows, execution_options=STREAMED).mappings():
        yield from reader.read(row["user"], row)
    yield from reader.rest()


def activity_page(
    connection: Connection,
    user: tuple[int, str],
    *,
    after: Place | None,
    limit: int,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Page:
    """Return up to LIMIT of the activities of USER (row, name) that overlap the time from SINCE to UNTIL, by time, AFTER a place.

    No more than `MOST_READ` statements are read. Where the last one before SINCE repeats more than so many others, its activity is
    told to begin with the first of these.
    """
    user_id, name = user
    place = after or (None if since is None else _place_before(connection, user_id, since))
    reader = Reader(since, until, None if place is None else place.start)
    found: list[Interval] = []
    full: Place | None = None
    last: RowMapping | None = None
    read = 0
    with connection.execute(_from(user_id, place), execution_options=STREAMED) as rows:
        for last in rows.mappings():
            read += 1
            found += reader.read(name, last)
            if len(found) == limit and full is None:
                full = reader.place(last)
            if len(found) > limit or reader.has_read_all(last):
                break
    if last is not None and read == MOST_READ:
        return Page(found[:limit], full or reader.place(last))
    found += reader.rest()
    return Page(found[:limit], full if len(found) > limit else None)


def _from(user_id: int, place: Place | None) -> Select[Any]:
    """Return the user's statements from PLACE on, by time."""
    rows = select(ACTIVITY).where(ACTIVITY.c.user_id == user_id).order_by(*_ORDER).limit(MOST_READ)
    if place is None:
        return rows
    at, received = literal(place.at, UtcDateTime()), literal(place.received, UtcDateTime())
    return rows.where(ACTIVITY.c.at >= at, tuple_(*_ORDER) >= tuple_(at, received, place.digest))


def _place_before(connection: Connection, user_id: int, since: datetime) -> Place | None:
    """Return the place of the user's last statement before SINCE."""
    rows = (
        select(ACTIVITY)
        .where(ACTIVITY.c.user_id == user_id, ACTIVITY.c.at < since)
        .order_by(*(column.desc() for column in _ORDER))
        .limit(MOST_READ)
    )
    place: Place | None = None
    said: tuple[str | None, str | None] | None = None
    with connection.execute(rows, execution_options=STREAMED) as found:
        for row in found.mappings():
            if place is None:
                said = row["project"], row["task"]
                place = Place(row["at"], row["received_at"], row["digest"], row["at"])
            elif said != (row["project"], row["task"]):
                break
            place = place._replace(start=row["at"])
    return place
