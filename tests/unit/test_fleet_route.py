"""Where virtual devices drive: geometry on the sphere, and journeys that a vehicle could make."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.fleet.route import TOWNS, Point, Route, bearing, distance_m, travel

HOME = TOWNS["Liverpool"]
points = st.builds(Point, st.floats(-85, 85), st.floats(-180, 180))


def test_a_degree_of_latitude_is_111_km() -> None:
    assert distance_m(Point(10, 20), Point(11, 20)) == pytest.approx(111_195, abs=1)


def test_east_along_the_equator_is_90_degrees() -> None:
    assert bearing(Point(0, 179), Point(0, -179)) == pytest.approx(90)


@given(points, st.floats(0, 360), st.floats(1, 1e6))
def test_travelling_covers_the_distance_and_ends_on_the_globe(start: Point, heading: float, length_m: float) -> None:
    end = travel(start, heading, length_m)
    assert distance_m(start, end) == pytest.approx(length_m, rel=1e-6, abs=0.01)
    assert -90 <= end.latitude <= 90
    assert -180 <= end.longitude <= 180


@given(points, points)
def test_a_bearing_is_a_heading_of_the_contract(start: Point, end: Point) -> None:
    assert 0 <= bearing(start, end) < 360


@pytest.mark.parametrize("seed", range(5))
def test_a_journey_moves_as_fast_as_it_says(seed: int) -> None:
    route = Route(Random(seed), HOME)
    before = route.at(0)
    for second in range(1, 3_600):
        after = route.at(second)
        assert distance_m(before.point, after.point) <= max(before.speed_mps, after.speed_mps) + 0.01
        assert distance_m(HOME, after.point) < 6_100
        before = after


def test_a_moving_vehicle_heads_where_it_goes_and_a_standing_one_nowhere() -> None:
    route = Route(Random(3), HOME)
    moving = standing = 0
    for second in range(0, 3_600, 5):
        here, there = route.at(second), route.at(second + 0.5)
        if here.speed_mps and here.speed_mps == there.speed_mps:
            assert here.heading == pytest.approx(bearing(here.point, there.point), abs=0.5)
            moving += 1
        elif not here.speed_mps:
            assert here.heading is None
            standing += 1
    assert moving
    assert standing


def test_the_same_seed_makes_the_same_journey() -> None:
    first, second = (Route(Random(7), HOME) for _ in range(2))
    assert [first.at(t) for t in range(0, 9_000, 60)] == [second.at(t) for t in range(0, 9_000, 60)]
