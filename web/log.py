"""The route of the event log."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from models import queries
from models.paging import newest_events
from models.schemas import EVENTS
from web.answers import described, json_answer, listed
from web.auth import TheCompany, TheParts
from web.cursors import MOST, Cursor, Limit, decode, listing

router = APIRouter(prefix="/api/companies/{company}", tags=["events"])

EventId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Order(StrEnum):
    """Which end of the log comes first."""

    OLDEST = "oldest"
    NEWEST = "newest"


@router.get(
    "/events",
    responses=described("The event log; each event as it was announced.", listed({"oneOf": list(EVENTS.values())})),
)
def events(
    request: Request,
    parts: TheParts,
    company: TheCompany,
    user: Annotated[str | None, Query(pattern="^[A-Za-z0-9_-]{1,64}$", description="Only those of this user.")] = None,
    order: Annotated[Order, Query(description="Which end of the log comes first.")] = Order.OLDEST,
    limit: Limit = MOST,
    cursor: Cursor = None,
) -> Response:
    place = None if cursor is None else decode(cursor, EventId)
    with parts.looking() as look:
        if order is Order.NEWEST:
            found = newest_events(look.connection, company, user=user, before=place, limit=limit + 1)
        else:
            found = queries.events(look.connection, company, user=user, after=place or 0, limit=limit + 1)
    page = found[:limit]
    following = page[-1][0] if len(found) > limit else None
    return json_answer(request, listing([msgspec.Raw(payload) for _, payload in page], following))
