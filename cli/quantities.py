"""Durations and times as people write and read them: `30d`, `2h` ago, `3 min`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_DAYS_SHOWN_ALONE = 3
_LONGEST_S = 1000 * 365 * _DAY_S
"""A thousand years from now, either way, are still in the calendar."""


def parse_duration(text: str) -> timedelta:
    """Return the duration that `90s`, `30m`, `12h` or `30d` names; raise `ValueError` for anything else and for nothing."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text!r} is no time such as 90s, 30m, 12h or 30d")
    seconds = int(found[1]) * _SECONDS[found[2]]
    if seconds > _LONGEST_S:
        raise ValueError(f"{text!r} is too long")
    return timedelta(seconds=seconds)


def parse_time(text: str, now: datetime) -> datetime:
    """Return the aware UTC time that TEXT names: RFC 3339 (without a zone: UTC), a date, `now`, or how long before NOW, as in `2h`."""
    text = text.strip()
    if text == "now":
        return now
    if _DURATION.fullmatch(text):
        return now - parse_duration(text)
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no RFC 3339 time, and no time ago such as 2h") from None


def duration_text(seconds: float) -> str:
    """Return SECONDS as `12 s`, `3 min`, `2 h 05 min` or `4 d 3 h`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02d} min"
    days, hours = whole // _DAY_S, whole % _DAY_S // _HOUR_S
    return f"{days} d {hours} h" if days < _DAYS_SHOWN_ALONE else f"{days} d"


def age_text(time: datetime | None, now: datetime) -> str:
    """Return how long ago TIME was, `—` for never."""
    return "—" if time is None else duration_text((now - time).total_seconds())


def time_text(time: datetime | None) -> str:
    """Return TIME for people, in UTC to the second, `—` for none."""
    return "—" if time is None else f"{time:%Y-%m-%d %H:%M:%S}Z"
