"""Durations and times as people write and read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cli.quantities import age_text, duration_text, parse_duration, parse_time

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43_200), ("30d", 2_592_000), (" 1s ", 1)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0d", "5", "d", "-1d", "1.5h", "1w", "1d2h", "٣d", "999999999d"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no time|is too long"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-22T10:00:00Z", NOW - timedelta(hours=2)),
        ("2026-11-22T12:00:00+02:00", NOW - timedelta(hours=2)),
        ("2026-11-22", NOW - timedelta(hours=12)),
        ("2h", NOW - timedelta(hours=2)),
        ("now", NOW),
    ],
)
def test_a_time_is_rfc_3339_or_how_long_ago(text: str, time: datetime) -> None:
    assert parse_time(text, NOW) == time


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "99:00", "0001-01-01T00:00:00+10:00", "800000d"])
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no RFC 3339 time|is too long"):
        parse_time(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (7500, "2 h 05 min"),
        (97_200, "1 d 3 h"),
        (864_000, "10 d"),
    ],
)
def test_a_duration_reads_well_at_every_size(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_what_never_was_has_no_age() -> None:
    assert age_text(None, NOW) == "—"
