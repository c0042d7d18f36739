"""Where a list goes on: cursors that mean something to us alone, and the limit of a page."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec
from fastapi import HTTPException, Query
from pydantic import BeforeValidator

MOST = 1000
Limit = Annotated[
    int, Query(ge=1, le=MOST, description="How many items at most; a page may have fewer while `next` is not null.")
]
Cursor = Annotated[str | None, Query(max_length=400, description="`next` of the page before.")]

Place = TypeVar("Place")

_UNESCAPED = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:\d\d)$")
"""A space between a time and its zone: after a date there is none of these, as a time follows it."""


def encode(place: object) -> str:
    """Return PLACE as text that fits into a URL as it is."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decode(cursor: str, kind: type[Place]) -> Place:
    """Return the place that CURSOR names; anything else than one of ours is answered with 422."""
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(data, type=kind)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise unprocessable("cursor", "is none of ours") from None


def unprocessable(name: str, why: str) -> HTTPException:
    """Return the answer to a query parameter that cannot be used, in the form of FastAPI's own."""
    return HTTPException(422, [{"type": "value_error", "loc": ["query", name], "msg": f"{name} {why}"}])


def in_utc(name: str, time: datetime) -> datetime:
    """Return TIME in UTC; one without a zone, or outside the calendar, is answered with 422."""
    if time.tzinfo is None:
        raise unprocessable(name, "must say its zone, as in 2026-11-22T10:00:00Z")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise unprocessable(name, "lies outside the calendar") from None


def span(since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Return the times given as `from` and `to`, in UTC."""
    start = None if since is None else in_utc("from", since)
    end = None if until is None else in_utc("to", until)
    if start is not None and end is not None and start >= end:
        raise unprocessable("from", "must be before to")
    return start, end


def _written(given: str) -> str:
    """Return the time that was GIVEN as text; a bare number, which may be meant as a year or as seconds, is refused.

    A `+` that was not escaped comes as a space [URL standard, application/x-www-form-urlencoded parsing].
    """
    if given.lstrip("+-").replace(".", "", 1).isdigit():
        raise ValueError("must be written as in 2026-11-22T10:00:00Z")
    return _UNESCAPED.sub(r"\1+\2", given)


Time = Annotated[datetime, BeforeValidator(_written)]
Since = Annotated[Time | None, Query(alias="from", description="From this time, RFC 3339.")]
Until = Annotated[Time | None, Query(alias="to", description="To before this time, RFC 3339.")]


def listing(items: Sequence[object], following: object | None) -> dict[str, object]:
    """Return a list as every route gives it: its items, and the cursor of the FOLLOWING page if there is one."""
    return {"items": items, "next": None if following is None else encode(following)}
