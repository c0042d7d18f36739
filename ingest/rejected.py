"""Refused messages: each is kept with its topic, its reason, its size and its first bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, insert

from ingest.decode import Rejected
from models import topics
from models.queries import REJECTED

_HEAD_BYTES = 256
_TOPIC_CHARS = 256
_REASON_CHARS = 240


def write_rejected(connection: Connection, refused: Iterable[Rejected]) -> None:
    """Keep the messages REFUSED."""
    rows = [rejected_row(one) for one in refused]
    if rows:
        connection.execute(insert(REJECTED), rows)


def rejected_row(refused: Rejected) -> dict[str, Any]:
    """Return the row that keeps REFUSED."""
    levels = refused.topic.split("/")
    company = levels[1] if len(levels) > 1 and topics.is_id(levels[1]) else None
    return {
        "received_at": refused.received,
        "company": company,
        "topic": _storable(refused.topic)[:_TOPIC_CHARS],
        "reason": _storable(refused.reason)[:_REASON_CHARS],
        "size": len(refused.payload),
        "head": refused.payload[:_HEAD_BYTES],
    }


def _storable(text: str) -> str:
    """Return TEXT with what a database could not store written out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
