"""JSON Schemas of what Fieldbeat says: states, events, notices; and of what devices may send, read off the payloads."""

from __future__ import annotations

from typing import Any

import msgspec

from models.facts import Reason, Status
from models.payloads import MAX_STATUS_CHARS, OWN_SOURCE, Activity, Presence, StatusText

Schema = dict[str, Any]

_TIME: Schema = {"type": "string", "format": "date-time"}
_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 128}
_STATUS: Schema = {"enum": [str(status) for status in Status]}
_REASON: Schema = {"enum": [str(reason) for reason in Reason]}
_TEXT: Schema = {"type": "string", "maxLength": MAX_STATUS_CHARS}
_INTERNAL = frozenset({"source", "userId", "companyId", "_type"})
"""Fields of the payloads that are read for their own sake, and not meant for devices to send."""


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: Schema, optional: frozenset[str] = frozenset()) -> Schema:
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def _number(minimum: float | None = None, maximum: float | None = None) -> Schema:
    bounds = {"minimum": minimum, "maximum": maximum}
    return {"type": "number"} | {name: bound for name, bound in bounds.items() if bound is not None}


DEVICE_STATE = _object(
    {"device": _ID, "status": _STATUS, "lastSeenAt": nullable(_TIME), "battery": nullable(_number(0, 100))}
)

STATE = _object(
    {
        "type": {"const": "presence:update"},
        "companyId": _ID,
        "userId": _ID,
        "rev": {"type": "integer", "minimum": 0},
        "status": _STATUS,
        "reason": nullable(_REASON),
        "since": nullable(_TIME),
        "lastSeenAt": nullable(_TIME),
        "lastLatitude": nullable(_number(-90, 90)),
        "lastLongitude": nullable(_number(-180, 180)),
        "lastAccuracy": nullable(_number(0)),
        "lastFixAt": nullable(_TIME),
        "currentProjectId": nullable(_NAME),
        "currentTaskId": nullable(_NAME),
        "statusMessage": nullable(_TEXT),
        "statusUpdatedAt": nullable(_TIME),
        "devices": {"type": "array", "items": DEVICE_STATE},
    }
)


def _event(kind: str, **details: Schema) -> Schema:
    head = {
        "id": {"type": "string", "format": "uuid"},
        "type": {"const": kind},
        "companyId": _ID,
        "userId": _ID,
        "timestamp": _TIME,
    }
    return _object(head | details)


EVENTS = {
    "user:online": _event("user:online", device=_ID),
    "user:offline": _event("user:offline", device=_ID, reason=_REASON),
    "activity:changed": _event("activity:changed", projectId=nullable(_NAME), taskId=nullable(_NAME)),
    "status:updated": _event("status:updated", statusMessage=nullable(_TEXT), statusUpdatedAt=_TIME),
}

NOTICE = _object(
    {
        "type": {"const": "offline"},
        "device": _ID,
        "session": _ID,
        "reason": {"const": str(Reason.STALE_SESSION)},
        "source": {"const": OWN_SOURCE},
        "eventId": {"type": "string", "format": "uuid"},
        "at": _TIME,
    },
    optional=frozenset({"session"}),
)

SERVICE = _object(
    {"online": {"type": "boolean"}, "since": _TIME, "version": {"type": "string"}},
    optional=frozenset({"since", "version"}),
)

INTERVAL = _object(
    {
        "userId": _ID,
        "projectId": _NAME,
        "taskId": nullable(_NAME),
        "from": _TIME,
        "to": nullable(_TIME),
        "seconds": _number(0),
    }
)

POINT = _object(
    {
        "type": {"const": "Feature"},
        "geometry": _object(
            {
                "type": {"const": "Point"},
                "coordinates": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3},
            }
        ),
        "properties": _object(
            {
                "device": _ID,
                "at": _TIME,
                "received": _TIME,
                "accuracy": nullable(_number(0)),
                "altitude": nullable(_number()),
                "speed": nullable(_number(0)),
                "heading": nullable(_number(0)),
                "battery": nullable(_number(0, 100)),
                "flags": {"type": "array", "items": {"enum": ["unstamped", "future", "old"]}},
            }
        ),
    }
)

TRACK = _object(
    {
        "type": {"const": "FeatureCollection"},
        "features": {"type": "array", "items": POINT},
        "next": {"type": ["string", "null"]},
    },
    optional=frozenset({"next"}),
)


def sent() -> dict[str, Schema]:
    """Return the schema of each payload that devices send, by its class's name."""
    kinds = (Presence, Activity, StatusText)
    _, found = msgspec.json.schema_components(kinds)
    return {kind.__name__: _for_devices(found[kind.__name__]) for kind in kinds}


def _for_devices(schema: Schema) -> Schema:
    properties = {name: _in_ecma(each) for name, each in schema["properties"].items() if name not in _INTERNAL}
    if "reason" in properties:
        own = str(Reason.STALE_SESSION)
        allowed = [reason for reason in properties["reason"]["enum"] if reason != own]
        properties["reason"] = properties["reason"] | {"enum": allowed}
    return schema | {"properties": properties}


def _in_ecma(schema: Any) -> Any:  # noqa: ANN401 any part of a schema
    """Return SCHEMA with its patterns as JSON Schema wants them: in ECMA-262, and there in what every reader knows."""
    match schema:
        case dict():
            return {
                key: value.replace("\\Z", "$").replace("\\0", "\\u0000") if key == "pattern" else _in_ecma(value)
                for key, value in schema.items()
            }
        case list():
            return [_in_ecma(each) for each in schema]
    return schema
