"""Where a virtual device is: great-circle legs between random waypoints around a town, with stops between them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

EARTH_RADIUS_M = 6_371_008.8
"""The mean radius of the Earth."""

_SPEEDS_MPS = (1.3, 4.5, 9.0, 14.0)
"""A walk, a bicycle, a van in town, a van on the road."""
_STOP_S = (5.0, 90.0)
_MIN_LEG_M = 200.0


class Point(NamedTuple):
    """Degrees WGS 84."""

    latitude: float
    longitude: float


TOWNS = {
    "Bengaluru": Point(12.9716, 77.5946),
    "Liverpool": Point(53.4084, -2.9916),
    "Ljubljana": Point(46.0569, 14.5058),
    "Valparaíso": Point(-33.0472, -71.6127),
}


class Motion(NamedTuple):
    """A position with its speed (m/s) and heading (degrees, None while standing)."""

    point: Point
    speed_mps: float
    heading: float | None


def distance_m(start: Point, end: Point) -> float:
    """Return the great-circle distance (haversine)."""
    lat1, lat2 = math.radians(start.latitude), math.radians(end.latitude)
    half_lat = (lat2 - lat1) / 2
    half_lon = math.radians(end.longitude - start.longitude) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(chord)))


def bearing(start: Point, end: Point) -> float:
    """Return the initial bearing from START to END in degrees, 0 ≤ b < 360."""
    lat1, lat2 = math.radians(start.latitude), math.radians(end.latitude)
    delta = math.radians(end.longitude - start.longitude)
    east = math.sin(delta) * math.cos(lat2)
    north = math.cos(lat1) * math.sin(lat2) - math.sin(lat1) * math.cos(lat2) * math.cos(delta)
    # A bearing a hair west of north comes out of the modulo as 360.0 exactly.
    return math.degrees(math.atan2(east, north)) % 360 % 360


def travel(start: Point, heading: float, length_m: float) -> Point:
    """Return where one is after LENGTH_M along the great circle that leaves START under HEADING."""
    lat, angle, turn = math.radians(start.latitude), length_m / EARTH_RADIUS_M, math.radians(heading)
    sine = math.sin(lat) * math.cos(angle) + math.cos(lat) * math.sin(angle) * math.cos(turn)
    sine = max(-1.0, min(1.0, sine))
    east = math.sin(turn) * math.sin(angle) * math.cos(lat)
    delta = math.atan2(east, math.cos(angle) - math.sin(lat) * sine)
    longitude = (start.longitude + math.degrees(delta) + 180) % 360 - 180
    return Point(math.degrees(math.asin(sine)), longitude)


@dataclass(frozen=True, slots=True)
class Leg:
    """One way from START to END at one speed, and the stop after it; times in seconds since the route began."""

    start: Point
    end: Point
    leaves_s: float
    speed_mps: float
    stop_s: float

    @property
    def arrives_s(self) -> float:
        return self.leaves_s + distance_m(self.start, self.end) / self.speed_mps

    def at(self, elapsed_s: float) -> Motion:
        if elapsed_s >= self.arrives_s:
            return Motion(self.end, 0.0, None)
        done_m = max(0.0, elapsed_s - self.leaves_s) * self.speed_mps
        here = travel(self.start, bearing(self.start, self.end), done_m)
        return Motion(here, self.speed_mps, bearing(here, self.end))


class Route:
    """An endless journey within RADIUS_M of HOME; the same RNG state gives the same journey."""

    def __init__(self, rng: Random, home: Point, radius_m: float = 6_000.0) -> None:
        self._rng = rng
        self._home = home
        self._radius_m = radius_m
        self._leg = self._next_leg(self._waypoint(), 0.0)

    def at(self, elapsed_s: float) -> Motion:
        """Return the motion ELAPSED_S seconds after the start; the time may not run backwards over a stop."""
        while elapsed_s >= self._leg.arrives_s + self._leg.stop_s:
            self._leg = self._next_leg(self._leg.end, self._leg.arrives_s + self._leg.stop_s)
        return self._leg.at(elapsed_s)

    def _next_leg(self, start: Point, leaves_s: float) -> Leg:
        end = self._waypoint()
        while distance_m(start, end) < _MIN_LEG_M:
            end = self._waypoint()
        return Leg(start, end, leaves_s, self._rng.choice(_SPEEDS_MPS), self._rng.uniform(*_STOP_S))

    def _waypoint(self) -> Point:
        # The square root spreads the waypoints evenly over the disc.
        length_m = self._radius_m * math.sqrt(self._rng.random())
        return travel(self._home, self._rng.uniform(0.0, 360.0), length_m)
