"""Session ids made with a given time: ULID and UUIDv7."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _ms(made: datetime) -> int:
    return (made - _EPOCH) // timedelta(milliseconds=1)


def ulid(made: datetime, tail: str = "0") -> str:
    ms = _ms(made)
    return "".join(_DIGITS[ms >> 5 * place & 31] for place in reversed(range(10))) + tail * 16


def uuid7(made: datetime) -> str:
    return str(uuid.UUID(int=_ms(made) << 80 | 7 << 76 | 2 << 62 | 12345))
