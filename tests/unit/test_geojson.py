"""Fewer points for the same line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from models.geojson import feature, simplified

START = datetime(2026, 11, 22, 10, tzinfo=UTC)


def row(latitude: float, longitude: float, device: str = "van", step: int = 0, **more: float | None) -> dict[str, Any]:
    at = START + timedelta(seconds=step)
    known = dict.fromkeys(("accuracy", "altitude", "speed", "heading", "battery")) | more
    return {"latitude": latitude, "longitude": longitude, "device": device, "at": at, "received_at": at, **known}


def test_longitude_comes_first_and_altitude_last() -> None:
    made = feature(row(12.97, 77.59, altitude=920.0))
    assert made["geometry"] == {"type": "Point", "coordinates": [77.59, 12.97, 920.0]}
    assert made["properties"]["at"] == "2026-11-22T10:00:00.000Z"


def test_a_corner_stays_and_what_lies_on_the_way_goes() -> None:
    way = [row(0, 0), row(0, 0.5), row(0, 1), row(0.5, 1), row(1, 1)]
    assert simplified(way, 10) == [way[0], way[2], way[4]]


def test_each_device_has_a_line_of_its_own() -> None:
    way = [row(0, 0), row(50, 50, "phone"), row(0, 1), row(50, 51, "phone")]
    assert simplified(way, 10) == way


def test_a_way_over_the_antimeridian_is_no_way_round_the_world() -> None:
    way = [row(0, 179.8), row(0, 179.9), row(0, -180), row(0, -179.9), row(0, -179.8)]
    assert simplified(way, 10) == [way[0], way[4]]


@given(st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), max_size=40), st.floats(0.1, 1e5))
def test_ends_stay_order_stays_and_nothing_is_invented(places: list[tuple[float, float]], tolerance_m: float) -> None:
    way = [row(latitude, longitude, step=step) for step, (latitude, longitude) in enumerate(places)]
    kept = simplified(way, tolerance_m)
    assert [one["at"] for one in kept] == sorted({one["at"] for one in kept})
    assert all(one in way for one in kept)
    assert kept[:1] == way[:1]
    assert kept[-1:] == way[-1:]
