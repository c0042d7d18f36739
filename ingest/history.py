"""The history's entries, and how copies of one message become one, whatever the order in which they come (contract 4.6)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from msgspec import Struct
from msgspec.structs import astuple, replace
from sqlalchemy import Connection, bindparam, select, true, update

from ingest.decode import Decoded, has_position
from models.facts import Reason
from models.payloads import Presence
from models.people import Filed
from models.queries import HISTORY
from models.values import rows

_KIND = {Reason.CONNECTION_LOST: 1, Reason.SIGNED_OFF: 2, Reason.STALE_SESSION: 1, Reason.TOKEN_REVOKED: 2}

Id = tuple[int, int]
"""A message: the row of its session, and the number that tells it from the others there."""


class Entry(Struct, frozen=True, gc=False):
    """One presence message, as a row of `HistoryRow`; the fields are its columns, in their order."""

    user_id: int
    at: datetime
    session_id: int
    message: int
    received_at: datetime
    kind: int
    latitude: float | None
    longitude: float | None
    accuracy: float | None
    altitude: float | None
    speed: float | None
    heading: float | None
    battery: float | None

    @property
    def id(self) -> Id:
        return self.session_id, self.message

    @property
    def gives_time(self) -> bool:
        """Whether the message said when it was made; what gives no time of its own has the time of its receipt."""
        return self.at != self.received_at


COLUMNS = Entry.__struct_fields__


def entry(user_id: int, session_id: int, decoded: Decoded, payload: Presence) -> Entry:
    """Return the entry for the presence message DECODED."""
    here = has_position(payload)
    return Entry(
        user_id,
        payload.at or decoded.received,
        session_id,
        decoded.message,
        decoded.received,
        0 if payload.type == "heartbeat" else _KIND[Reason(payload.reason)],
        payload.latitude if here else None,
        payload.longitude if here else None,
        payload.accuracy,
        payload.altitude,
        payload.speed,
        payload.heading,
        payload.battery,
    )


def is_beyond(payload: Presence, filed: Filed) -> bool:
    """Whether PAYLOAD cannot be a copy of a message that its session has FILED.

    A copy has the same `seq` or, without `seq`, the same bytes and with them the same `at`.
    """
    if payload.seq is not None:
        return payload.seq > filed.newest_seq
    return payload.at is not None and (filed.newest_at is None or payload.at > filed.newest_at)


def file(payload: Presence, filed: Filed) -> None:
    """Note in FILED that the history will hold PAYLOAD."""
    if payload.seq is not None and payload.seq > filed.newest_seq:
        filed.newest_seq = payload.seq
    if payload.at is not None and (filed.newest_at is None or payload.at > filed.newest_at):
        filed.newest_at = payload.at


def merged(one: Entry, other: Entry) -> Entry:
    """Return what two copies of a message make together: the greater content, and the earlier receipt."""
    greater = max(one, other, key=_rank)
    received = min(one.received_at, other.received_at)
    return replace(greater, at=greater.at if greater.gives_time else received, received_at=received)


def _rank(one: Entry) -> tuple[object, ...]:
    content = [-1e300 if value is None else value for value in astuple(one)[5:]]
    return (True, one.at, *content) if one.gives_time else (False, *content)


def copies(connection: Connection, wanted: Collection[Id], since: datetime) -> dict[Id, Entry]:
    """Return those of the messages WANTED that the history holds; none of them was received before SINCE."""
    chosen = rows(connection, wanted, int, int)
    same = HISTORY.c.session_id == chosen.c.v0, HISTORY.c.message == chosen.c.v1
    # On PostgreSQL this leaves out the days before.
    found = select(*HISTORY.c[COLUMNS]).where(*same, HISTORY.c.received_at >= since)
    if connection.dialect.name == "postgresql":
        # Each is looked up by itself, which OFFSET 0 sees to: to statistics that are older than SINCE there is next to nothing after it,
        # and a join would compare all with all, for minutes.
        each = found.correlate(chosen).offset(0).lateral()
        found = select(each).join_from(chosen, each, true())
    entries = [Entry(*row) for row in connection.execute(found)]
    return {one.id: one for one in entries}


def correct(connection: Connection, changed: Collection[tuple[Entry, Entry]]) -> None:
    """Put the second in the place of the first of each pair of entries CHANGED."""
    parameters = [
        {"b_received_at": old.received_at, **dict(zip(_PARAMETERS, astuple(new), strict=True))} for old, new in changed
    ]
    if parameters:
        connection.execute(_CORRECT, parameters)


_PARAMETERS = [f"c_{name}" for name in COLUMNS]
_CORRECT = (
    update(HISTORY)
    .where(
        HISTORY.c.session_id == bindparam("c_session_id"),
        HISTORY.c.message == bindparam("c_message"),
        HISTORY.c.received_at == bindparam("b_received_at"),
    )
    .values({name: bindparam(f"c_{name}") for name in COLUMNS})
)
