"""The route of a user's positions: GeoJSON that streams, a page of the history at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from models.geojson import feature, simplified
from models.paging import TrackPage, TrackPlace, track_page
from models.schemas import TRACK
from web.answers import described
from web.auth import TheCompany, TheParts, TheUser
from web.cursors import MOST, Cursor, Since, Until, decode, encode, in_utc, span
from web.parts import Look, Parts
from web.people import user_id

router = APIRouter(prefix="/api/companies/{company}", tags=["tracks"])

MEDIA_TYPE = "application/geo+json"

OfDevice = Annotated[str | None, Query(pattern="^[A-Za-z0-9_-]{1,64}$", description="Only this device's.")]
Tolerance = Annotated[
    float,
    Query(
        ge=0,
        le=100_000,
        allow_inf_nan=False,
        description="Leave out what lies this close, in m, to the line without it. Of every device, both ends of every gap of "
        "more than 10 min stay, and where there is none, one position in 10 min at least: no pause is made, and none is hidden.",
    ),
]
PageLength = Annotated[
    int | None,
    Query(ge=1, le=MOST, description="By pages of so many positions at most; without it, all of them stream."),
]


class Asked(NamedTuple):
    """Which positions, and how."""

    user_id: int
    device: str | None
    since: datetime | None
    until: datetime | None
    simplify_m: float

    def page(self, look: Look, after: TrackPlace | None, limit: int) -> TrackPage:
        return track_page(
            look.connection, self.user_id, after=after, limit=limit, device=self.device, since=self.since, until=self.until
        )  # fmt: skip

    def features(self, page: TrackPage) -> list[bytes]:
        kept = simplified(page.rows, self.simplify_m) if self.simplify_m else page.rows
        return [msgspec.json.encode(feature(row)) for row in kept]


@router.get(
    "/users/{user}/track",
    response_class=StreamingResponse,
    responses=described("The user's positions as points, by time.", TRACK, MEDIA_TYPE),
)
def track(
    parts: TheParts,
    company: TheCompany,
    user: TheUser,
    since: Since = None,
    until: Until = None,
    device: OfDevice = None,
    simplify: Tolerance = 0.0,
    limit: PageLength = None,
    cursor: Cursor = None,
) -> Response:
    start, end = span(since, until)
    place = None if cursor is None else _place(cursor)
    with parts.looking() as look:
        asked = Asked(user_id(look, company, user), device, start, end, simplify)
        page = asked.page(look, place, limit or MOST)
    headers = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if limit is None:
        return StreamingResponse(_stream(parts, asked, page), media_type=MEDIA_TYPE, headers=headers)
    following = None if page.following is None else encode(page.following)
    body = b"".join(_collection(iter([asked.features(page)]), following))
    return Response(body, media_type=MEDIA_TYPE, headers=headers)


def _place(cursor: str) -> TrackPlace:
    place = decode(cursor, TrackPlace)
    return place._replace(at=in_utc("cursor", place.at))


def _stream(parts: Parts, asked: Asked, page: TrackPage) -> Iterator[bytes]:
    """Yield the collection that begins with PAGE. No transaction stays open while the client takes its time."""
    return _collection(map(asked.features, _pages(parts, asked, page)), None)


def _pages(parts: Parts, asked: Asked, page: TrackPage) -> Iterator[TrackPage]:
    yield page
    while page.following is not None:
        with parts.looking() as look:
            page = asked.page(look, page.following, MOST)
        yield page


def _collection(pages: Iterator[list[bytes]], following: str | None) -> Iterator[bytes]:
    """Yield a FeatureCollection; where the page ended is a foreign member [RFC 7946 section 6.1]."""
    yield b'{"type":"FeatureCollection","features":['
    before = b""
    for features in pages:
        if features:
            yield before + b",".join(features)
            before = b","
    yield b"]}" if following is None else b'],"next":' + msgspec.json.encode(following) + b"}"
