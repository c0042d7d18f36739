"""The history's rows, and how copies of one message become one row whatever the order in which they come (contract 4.6)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, case, func, literal_column, not_, or_, tuple_

from ingest.decode import Decoded, has_position
from ingest.dialect import Dialect
from models.facts import Reason
from models.payloads import Presence
from models.queries import HISTORY

_KIND = {Reason.CONNECTION_LOST: 1, Reason.SIGNED_OFF: 2, Reason.STALE_SESSION: 1, Reason.TOKEN_REVOKED: 2}
_MEASURED = ("latitude", "longitude", "accuracy", "altitude", "speed", "heading", "battery")
_UNKNOWN: Any = literal_column("-1e300")
"""Below whatever can be measured."""


def history_row(user_id: int, session_id: int, decoded: Decoded) -> dict[str, Any]:
    """Return the row that keeps the presence message DECODED."""
    payload = decoded.payload
    assert isinstance(payload, Presence)  # noqa: S101 only presence messages have a session
    here = has_position(payload)
    return {
        "user_id": user_id,
        "at": payload.at or decoded.received,
        "session_id": session_id,
        "message": decoded.message,
        "received_at": decoded.received,
        "kind": 0 if payload.type == "heartbeat" else _KIND[Reason(payload.reason)],
        "latitude": payload.latitude if here else None,
        "longitude": payload.longitude if here else None,
        "accuracy": payload.accuracy,
        "altitude": payload.altitude,
        "speed": payload.speed,
        "heading": payload.heading,
        "battery": payload.battery,
    }


def history_statement(dialect: Dialect) -> Any:  # noqa: ANN401 the dialect's INSERT
    """Return the INSERT of a row. Of several copies the greatest content counts, and the earliest receipt."""
    insert = dialect.insert(HISTORY).values({column.name: bindparam(column.name) for column in HISTORY.c})
    old, new = HISTORY.c, insert.excluded
    old_timed, new_timed = old.at != old.received_at, new.at != new.received_at
    earlier = new.received_at < old.received_at
    received = case((earlier, new.received_at), else_=old.received_at)
    greater = or_(
        and_(new_timed, not_(old_timed)),
        and_(new_timed, old_timed, tuple_(new.at, *_content(new)) > tuple_(old.at, *_content(old))),
        and_(not_(new_timed), not_(old_timed), tuple_(*_content(new)) > tuple_(*_content(old))),
    )
    # What gives no time of its own has the time of its receipt.
    at = case((and_(greater, new_timed), new.at), (and_(not_(greater), old_timed), old.at), else_=received)
    said = {name: case((greater, new[name]), else_=old[name]) for name in ("kind", *_MEASURED)}
    return insert.on_conflict_do_update(
        index_elements=[old.session_id, old.message],
        set_={**said, "at": at, "received_at": received},
        where=or_(greater, earlier),
    )


def _content(columns: Any) -> list[Any]:  # noqa: ANN401 SQLAlchemy's collections of columns
    return [columns.kind, *(func.coalesce(columns[name], _UNKNOWN) for name in _MEASURED)]
