"""Fewer points for the same line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from models.geojson import PAUSE, feature, simplified

START = datetime(2026, 11, 22, 10, tzinfo=UTC)
MINUTE = 60


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


def test_both_ends_of_a_pause_stay_though_the_way_goes_straight_on() -> None:
    way = [row(0, 0), row(0, 0.001, step=10), row(0, 0.002, step=20 * MINUTE), row(0, 0.003, step=20 * MINUTE + 10)]
    assert simplified(way, 10) == way


def test_who_goes_straight_on_for_an_hour_does_not_seem_to_pause() -> None:
    way = [row(0, 0.0001 * tick, step=10 * tick) for tick in range(361)]
    assert [(one["at"] - START).seconds // MINUTE for one in simplified(way, 10)] == [0, 10, 20, 30, 40, 50, 60]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 25 * MINUTE), st.floats(0, 0.01)), max_size=60),
    st.floats(0.1, 1e5),
)
def test_what_is_simplified_pauses_where_the_whole_does(
    moves: list[tuple[str, int, float]], tolerance_m: float
) -> None:
    steps = accumulate(wait for _, wait, _ in moves)
    way = [row(latitude, 0, device, step) for (device, _, latitude), step in zip(moves, steps, strict=True)]
    assert pauses(simplified(way, tolerance_m)) == pauses(way)


def pauses(rows: list[dict[str, Any]]) -> list[tuple[str, datetime, datetime]]:
    lines = [[one for one in rows if one["device"] == device] for device in "ab"]
    return [
        (before["device"], before["at"], after["at"])
        for line in lines
        for before, after in pairwise(line)
        if after["at"] - before["at"] > PAUSE
    ]


@given(st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), max_size=40), st.floats(0.1, 1e5))
def test_ends_stay_order_stays_and_nothing_is_invented(places: list[tuple[float, float]], tolerance_m: float) -> None:
    way = [row(latitude, longitude, step=step) for step, (latitude, longitude) in enumerate(places)]
    kept = simplified(way, tolerance_m)
    assert [one["at"] for one in kept] == sorted({one["at"] for one in kept})
    assert all(one in way for one in kept)
    assert kept[:1] == way[:1]
    assert kept[-1:] == way[-1:]
