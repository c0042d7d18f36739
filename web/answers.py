"""Answers: JSON with an ETag, so that whoever asks again for the same is told so in one line [RFC 9110 section 13.1.2]."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from fastapi import Request, Response

_PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}

UNAVAILABLE: dict[str, Any] = {
    "description": "The database is out of reach.",
    "headers": {"Retry-After": {"schema": {"type": "integer"}}},
}


def json_answer(request: Request, value: object) -> Response:
    """Return VALUE as JSON, or 304 when the client holds just that."""
    body = msgspec.json.encode(value)
    etag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = _PRIVATE | {"ETag": etag}
    if _holds(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _holds(given: str, etag: str) -> bool:
    """Whether the If-None-Match that was GIVEN names ETAG, by weak comparison [RFC 9110 section 8.8.3.2]."""
    bare = etag.removeprefix("W/")
    return any(each.strip() == "*" or each.strip().removeprefix("W/") == bare for each in given.split(","))


def described(summary: str, schema: dict[str, Any], media: str = "application/json") -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI is told of a route that answers with SCHEMA."""
    return {
        200: {"description": summary, "content": {media: {"schema": schema}}},
        304: {"description": "The client holds this already."},
        401: {"description": "No token, or one that proves nothing."},
        404: {"description": "Not there, or not for the holder of this token."},
        503: UNAVAILABLE,
    }


def listed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a page of what SCHEMA describes."""
    return {
        "type": "object",
        "required": ["items", "next"],
        "properties": {"items": {"type": "array", "items": schema}, "next": {"type": ["string", "null"]}},
    }
