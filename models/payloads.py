"""What devices may send: one frozen schema a channel, and OwnTracks as a dialect of `presence`.

Decoding is strict: a number is a JSON number, NaN and infinity are no JSON [RFC 8259 section 6], and text holds neither NUL nor
lone surrogates, which PostgreSQL could not store. Names and units are those of W3C Geolocation: degrees WGS 84, m, m/s.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta, Struct

from models.errors import BadPayload

MAX_BYTES = 16 * 1024
"""The longest payload that is read at all."""
MAX_SEQ = 2**63 - 1
MAX_STATUS_CHARS = 280
OLDEST, NEWEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Time = Annotated[datetime, Meta(tz=True)]
Metres = Annotated[float, Meta(ge=-1e6, le=1e9)]


class Heartbeat(Struct, frozen=True, tag_field="type", tag="heartbeat", rename="camel", gc=False):
    """A sign of life, mostly with a position; `at` is the device's own clock."""

    device: Id = "default"
    session: Id = ""
    seq: Annotated[int, Meta(ge=0, le=MAX_SEQ)] | None = None
    at: Time | None = None
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    accuracy: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    altitude: Metres | None = None
    speed: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    heading: Annotated[float, Meta(ge=0, lt=360)] | None = None
    battery: Annotated[float, Meta(ge=0, le=100)] | None = None
    project_id: Name | None = None
    task_id: Name | None = None
    status: Literal["online", "away"] = "online"
    user_id: str | None = None
    company_id: str | None = None
