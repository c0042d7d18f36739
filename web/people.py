"""Routes about people: the roster of a company, one user, and what a user worked on."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response

from models import queries
from models.events import State, rfc3339
from models.schemas import INTERVAL, STATE
from models.topics import ID
from models.worklog import Interval, Place, activity_page
from web.answers import described, json_answer, listed
from web.auth import TheCompany, TheParts, TheUser, not_found
from web.cursors import MOST, Cursor, Limit, Since, Until, decode, in_utc, listing, span
from web.parts import Look

UserName = Annotated[str, msgspec.Meta(pattern=rf"\A{ID.pattern}\Z")]
"""Where the roster goes on. PostgreSQL takes no NUL, so a cursor that somebody made up must not get so far."""

router = APIRouter(prefix="/api/companies/{company}", tags=["people"])


def user_id(look: Look, company: str, user: str) -> int:
    """Return the id of the row of USER, or answer 404."""
    found = queries.find_user(look.connection, company, user)
    if found is None:
        raise not_found()
    return found


@router.get(
    "/users", responses=described("The states of the company's users, true at this moment, by name.", listed(STATE))
)
def roster(
    request: Request, parts: TheParts, company: TheCompany, limit: Limit = MOST, cursor: Cursor = None
) -> Response:
    after = "" if cursor is None else decode(cursor, UserName)
    with parts.looking() as look:
        states = queries.roster(look.connection, company, look.now, look.terms, after=after, limit=limit + 1)
    page = states[:limit]
    following = page[-1].user if len(states) > limit else None
    return json_answer(request, listing([state.to_json() for state in page], following))


@router.get("/users/{user}", responses=described("The state of one user, true at this moment.", STATE))
def person(request: Request, parts: TheParts, company: TheCompany, user: TheUser) -> Response:
    with parts.looking() as look:
        found = user_id(look, company, user)
        state: State = queries.states(look.connection, [found], look.now, look.terms)[found]
    return json_answer(request, state.to_json())


@router.get(
    "/users/{user}/activity",
    responses=described("What the user worked on, oldest first; what goes on has no end.", listed(INTERVAL)),
)
def activity(
    request: Request,
    parts: TheParts,
    company: TheCompany,
    user: TheUser,
    since: Since = None,
    until: Until = None,
    limit: Limit = MOST,
    cursor: Cursor = None,
) -> Response:
    start, end = span(since, until)
    after = None if cursor is None else _place(cursor)
    with parts.looking() as look:
        found = user_id(look, company, user), user
        page = activity_page(look.connection, found, after=after, limit=limit, since=start, until=end)
    return json_answer(request, listing([_interval(one, look.now) for one in page.intervals], page.following))


def _place(cursor: str) -> Place:
    place = decode(cursor, Place)
    at, received, start = (in_utc("cursor", time) for time in (place.at, place.received, place.start))
    return Place(at, received, place.digest, start)


def _interval(interval: Interval, now: datetime) -> dict[str, Any]:
    seconds = ((interval.end or now) - interval.start).total_seconds()
    return {
        "userId": interval.user,
        "projectId": interval.project,
        "taskId": interval.task,
        "from": rfc3339(interval.start),
        "to": rfc3339(interval.end),
        "seconds": round(max(0.0, seconds), 3),
    }
