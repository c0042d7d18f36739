"""Reading recorded positions: what is known, what is unknown, and what is no recording."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from cli.fleet.messages import Report
from cli.fleet.recording import from_csv, from_gpx, heading, speed
from models.errors import BadSetting

HEAD = "device,time,lat,lon,speed_mps,course_deg,acc_m,alt_m\n"


def test_a_full_row_is_read() -> None:
    (row,) = from_csv(HEAD + "v1,2022-01-03T00:00:10Z,33.5,-118.25,1.5,346.8,32.3,-30.4\n")
    assert (row.device, row.time) == ("v1", datetime(2022, 1, 3, 0, 0, 10, tzinfo=UTC))
    assert row.report == Report(33.5, -118.25, 32.3, -30.4, 1.5, 346.8)
    assert row.key == ("v1", "2022-01-03T00:00:10Z", "33.5", "-118.25")


def test_what_a_row_leaves_out_is_unknown() -> None:
    rows = list(from_csv(HEAD + "v1,,1,2,,,,\nv1,2020-01-01T00:00:00Z,,,,,,\nv1\n"))
    assert [row.time is None for row in rows] == [True, False, True]
    assert rows[0].report == Report(1.0, 2.0)
    assert rows[1].report == rows[2].report == Report()


def test_the_optional_columns_may_be_missing() -> None:
    (row,) = from_csv("device,time,lat,lon\nv1,2022-01-03T00:00:10,1,2\n")
    assert row.report == Report(1.0, 2.0)
    assert row.time == datetime(2022, 1, 3, 0, 0, 10, tzinfo=UTC)


@pytest.mark.parametrize("course", [360.0, 511.0, -1.0, None])
def test_a_course_that_means_unknown_is_no_heading(course: float | None) -> None:
    assert heading(course) is None


@pytest.mark.parametrize("mps", [52.628, 52.6, 52.63, -1.0, None])
def test_a_speed_that_means_unknown_is_no_speed(mps: float | None) -> None:
    assert speed(mps) is None


def test_usual_speeds_and_courses_stay() -> None:
    assert [speed(mps) for mps in (0.0, 52.5, 52.7, 300.0)] == [0.0, 52.5, 52.7, 300.0]
    assert [heading(course) for course in (0.0, 359.9)] == [0.0, 359.9]


def test_numbers_that_json_cannot_say_are_unknown() -> None:
    (row,) = from_csv(HEAD + f"v1,,1,2,nan,inf,{math.inf},1e999\n")
    assert row.report == Report(1.0, 2.0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no column 'device'"),
        ("device,time,lat\n", "no column 'lon'"),
        (HEAD + "v1,2022-01-03T00:00:10Z,north,2,,,,\n", "line 2: .*'north'"),
        (HEAD + "v1,,1,2,,,,\nv1,yesterday,1,2,,,,\n", "line 3: .*'yesterday'"),
        (HEAD + "v1,0001-01-01T00:00:00+05:00,1,2,,,,\n", "line 2: "),
        (HEAD + '"v1,,1,2,,,,\n', "unexpected end of data"),
    ],
)
def test_what_is_no_recording_is_refused_by_its_line(text: str, complaint: str) -> None:
    with pytest.raises(BadSetting, match=complaint):
        list(from_csv(text))


@pytest.mark.parametrize("data", [b"", b"device,time", b"<gpx><trk>", b"\xff\xfe\x00"])
def test_what_is_no_gpx_is_refused(data: bytes) -> None:
    with pytest.raises(BadSetting, match="not GPX"):
        list(from_gpx(data, "d"))
