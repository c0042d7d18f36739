"""What devices may send: one frozen schema a channel, and OwnTracks as a dialect of `presence`.

Decoding is strict: a number is a JSON number, NaN and infinity are no JSON [RFC 8259 section 6], and text holds neither NUL nor
lone surrogates, which PostgreSQL could not store. Names and units are those of W3C Geolocation: degrees WGS 84, m, m/s.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from models.errors import BadPayload, Refusal
from models.topics import ID, ID_RULE, is_id

MAX_BYTES = 16 * 1024
"""The longest payload that is read at all."""
MAX_STATUS_CHARS = 280
OWN_SOURCE = "fieldbeat"
"""The `source` of the service's own notices on the presence channel."""

_MAX_SEQ = 2**63 - 1
_KMH_PER_MS = 3.6

Id = Annotated[str, Meta(extra_json_schema={"pattern": f"^{ID.pattern}$"})]
"""Checked once decoded: most ids were seen before, and a pattern of the schema's would be matched anew each time."""
Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\0]*\Z")]
Seq = Annotated[int, Meta(ge=0, le=_MAX_SEQ)]
Time = Annotated[datetime, Meta(tz=True)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]
Length = Annotated[float, Meta(ge=0, le=1e9)]
Percent = Annotated[float, Meta(ge=0, le=100)]


def _check_id(name: str, given: str | None) -> None:
    if given is not None and not is_id(given):
        raise ValueError(f"{name} {ID_RULE}")


def _to_utc(message: Struct, name: str, time: datetime | None) -> None:
    """Put the TIME that a field of MESSAGE was given, in whatever zone, into UTC."""
    if time is None or time.tzinfo is UTC:
        return
    try:
        msgspec.structs.force_setattr(message, name, time.astimezone(UTC))
    except OverflowError:
        raise ValueError(f"{name} lies outside the calendar") from None


class Presence(Struct, frozen=True, gc=False):
    """A heartbeat, or with type `offline` a last will or a sign-off. A heartbeat without `session` belongs to the empty session."""

    type: Literal["heartbeat", "offline"] = "heartbeat"
    device: Id | None = None
    session: Id | None = None
    seq: Seq | None = None
    at: Time | None = None
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    accuracy: Length | None = None
    altitude: Annotated[float, Meta(ge=-1e9, le=1e9)] | None = None
    speed: Length | None = None
    heading: Annotated[float, Meta(ge=0, lt=360)] | None = None
    battery: Percent | None = None
    project_id: Name | None = msgspec.field(name="projectId", default=None)
    task_id: Name | None = msgspec.field(name="taskId", default=None)
    status: Literal["online", "away"] = "online"
    reason: Literal["connection_lost", "signed_off", "stale_session"] = "connection_lost"
    source: str | None = None
    user_id: str | None = msgspec.field(name="userId", default=None)
    company_id: str | None = msgspec.field(name="companyId", default=None)
    dialect: str | None = msgspec.field(name="_type", default=None)

    def __post_init__(self) -> None:
        if self.dialect is None:
            _check_id("device", self.device)
            _check_id("session", self.session)
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude come together or not at all")
        if self.reason == "stale_session" and self.source != OWN_SOURCE:
            raise ValueError("the reason stale_session is the service's own")
        _to_utc(self, "at", self.at)


class Activity(Struct, frozen=True, gc=False):
    """What the user works on; a null project ends the activity."""

    project_id: Name | None = msgspec.field(name="projectId")
    task_id: Name | None = msgspec.field(name="taskId", default=None)
    device: Id | None = None
    at: Time | None = None
    user_id: str | None = msgspec.field(name="userId", default=None)
    company_id: str | None = msgspec.field(name="companyId", default=None)

    def __post_init__(self) -> None:
        _check_id("device", self.device)
        _to_utc(self, "at", self.at)


class StatusText(Struct, frozen=True, gc=False):
    """The user's free-text status; a null message clears it."""

    message: Annotated[str, Meta(max_length=MAX_STATUS_CHARS, pattern=r"^[^\0]*\Z")] | None
    until: Time | None = None
    user_id: str | None = msgspec.field(name="userId", default=None)
    company_id: str | None = msgspec.field(name="companyId", default=None)

    def __post_init__(self) -> None:
        _to_utc(self, "until", self.until)


class OwnTracksLocation(Struct, frozen=True, gc=False):
    """OwnTracks `location` and `transition`: km/h, epoch seconds, and -1 for what is not known [owntracks.org/booklet/tech/json]."""

    lat: Latitude
    lon: Longitude
    tst: Annotated[float, Meta(gt=0, le=221845392000)]
    acc: float | None = None
    alt: Annotated[float, Meta(ge=-1e9, le=1e9)] | None = None
    vel: float | None = None
    cog: float | None = None
    batt: float | None = None
    tid: str | None = None


Payload = TypeVar("Payload", Presence, Activity, StatusText)

_presence = msgspec.json.Decoder(Presence)
_activity = msgspec.json.Decoder(Activity)
_status = msgspec.json.Decoder(StatusText)
_location = msgspec.json.Decoder(OwnTracksLocation)

_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError, ValueError)


def _read(decoder: msgspec.json.Decoder[Payload], payload: bytes) -> Payload:
    if len(payload) > MAX_BYTES:
        raise BadPayload(f"payload of over {MAX_BYTES} bytes", Refusal.TOO_LARGE)
    try:
        if not payload.isascii():
            payload.decode()  # fields that we do not know are skipped unread, and a message is UTF-8 throughout
        return decoder.decode(payload)
    except _BROKEN as error:
        raise _refused(error) from None


def _refused(error: Exception, said: str = "") -> BadPayload:
    # The more general class is the parent of what a schema refuses.
    is_json = isinstance(error, msgspec.ValidationError)
    return BadPayload(said + _reason(error), Refusal.FIELDS if is_json else Refusal.NOT_JSON)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "JSON is nested too deeply"
    if isinstance(error, msgspec.ValidationError):
        return str(error)[:200]
    return f"not JSON: {str(error)[:160]}"


def read_presence(payload: bytes) -> Presence:
    """Return the presence message in PAYLOAD, ours or OwnTracks', or raise `BadPayload` with the reason."""
    message = _read(_presence, payload)
    return message if message.dialect is None else _from_owntracks(message.dialect, payload)


def read_activity(payload: bytes) -> Activity:
    """Return the activity in PAYLOAD, or raise `BadPayload` with the reason."""
    return _read(_activity, payload)


def read_status(payload: bytes) -> StatusText:
    """Return the status text in PAYLOAD; an empty payload clears it. Raise `BadPayload` with the reason."""
    return _read(_status, payload) if payload else StatusText(None)


def _from_owntracks(kind: str, payload: bytes) -> Presence:
    match kind:
        case "location" | "transition":
            try:
                return _heartbeat(_location.decode(payload))
            except _BROKEN as error:
                raise _refused(error, f"OwnTracks {kind}: ") from None
        case "lwt":
            # Its tst is when the app connected, not when it died; and it ends only what has no session id.
            return Presence(type="offline", session="", dialect=kind)
        case _:
            raise BadPayload(f"OwnTracks type {kind[:40]!r} says nothing about presence", Refusal.DIALECT)


def _heartbeat(said: OwnTracksLocation) -> Presence:
    return Presence(
        device=said.tid if said.tid is not None and is_id(said.tid) else None,
        at=datetime.fromtimestamp(said.tst, UTC),
        latitude=said.lat,
        longitude=said.lon,
        accuracy=said.acc if said.acc is not None and 0 < said.acc <= 1e9 else None,  # noqa: PLR2004 the bound of Length
        altitude=said.alt,
        speed=said.vel / _KMH_PER_MS if said.vel is not None and 0 <= said.vel <= 1e9 else None,  # noqa: PLR2004 likewise
        heading=said.cog if said.cog is not None and 0 <= said.cog < 360 else None,  # noqa: PLR2004 degrees in a circle
        battery=said.batt if said.batt is not None and 0 <= said.batt <= 100 else None,  # noqa: PLR2004 percent
    )
