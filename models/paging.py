"""The read side by pages: SELECTs that go on where the last page ended, so that no reading transaction lasts longer than a page."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NamedTuple

from msgspec import Meta
from sqlalchemy import Connection, RowMapping, Select, literal, select, tuple_

from models.queries import DEVICE, EVENT, HISTORY, LAST_ID, SESSION, events_of
from models.tables import UtcDateTime
from models.topics import Channel

MOST_READ = 10_000
"""How many messages one page reads at most in search of positions."""
_WINDOW = 1000


class TrackPlace(NamedTuple):
    """Where in a user's history a page ended: the rest of the key of its last row."""

    at: Annotated[datetime, Meta(tz=True)]
    session: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    message: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class TrackPage(NamedTuple):
    """Some positions, and where the next ones follow; that there are few of them, or none, does not mean that none follow."""

    rows: list[RowMapping]
    following: TrackPlace | None


def track_page(
    connection: Connection,
    user_id: int,
    *,
    after: TrackPlace | None,
    limit: int,
    device: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> TrackPage:
    """Return up to LIMIT of the user's positions from SINCE to before UNTIL, in order of the history's key, AFTER a place.

    No more than some `MOST_READ` messages are read, of other devices and without positions included.
    """
    found: list[RowMapping] = []
    place, read, window = after, 0, limit + 1
    while True:
        rows = connection.execute(_messages(user_id, place, since, until).limit(window)).mappings().all()
        for row in rows:
            if len(found) == limit:
                return TrackPage(found, place)
            if row["kind"] == 0 and row["latitude"] is not None and device in (None, row["device"]):
                found.append(row)
            place = TrackPlace(row["at"], row["session_id"], row["message"])
        read += window
        if len(rows) < window:
            return TrackPage(found, None)
        if read >= MOST_READ:
            return TrackPage(found, place)
        window = _WINDOW


def _messages(user_id: int, after: TrackPlace | None, since: datetime | None, until: datetime | None) -> Select[Any]:
    """Return the user's presence messages in order of the history's key, whatever is in them."""
    rows = (
        select(HISTORY, DEVICE.c.name.label("device"))
        .join_from(HISTORY, SESSION, HISTORY.c.session_id == SESSION.c.id)
        .join(DEVICE, SESSION.c.device_id == DEVICE.c.id)
        .where(HISTORY.c.user_id == user_id)
        .order_by(HISTORY.c.at, HISTORY.c.session_id, HISTORY.c.message)
    )
    if after is not None:
        place = tuple_(literal(after.at, UtcDateTime()), after.session, after.message)
        rows = rows.where(tuple_(HISTORY.c.at, HISTORY.c.session_id, HISTORY.c.message) > place)
    if since is not None:
        rows = rows.where(HISTORY.c.at >= since)
    if until is not None:
        rows = rows.where(HISTORY.c.at < until)
    return rows


def newest_events(
    connection: Connection, company: str, *, user: str | None, before: int | None, limit: int
) -> list[tuple[int, bytes]]:
    """Return up to LIMIT events of COMPANY BEFORE an id as (id, JSON), newest first."""
    wanted = events_of(connection, company, user)
    place = wanted.between(before=LAST_ID if before is None else before)
    rows = select(EVENT.c.id, EVENT.c.payload).where(place, EVENT.c.channel == str(Channel.EVENTS))
    rows = rows.order_by(*wanted.newest_first()).limit(limit)
    return [(row[0], row[1]) for row in connection.execute(rows)]
