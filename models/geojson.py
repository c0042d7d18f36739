"""Positions as GeoJSON points [RFC 7946], and fewer of them where fewer show the same line. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from models.events import number, rfc3339
from models.facts import CLOCK_SKEW

Row = TypeVar("Row", bound=Mapping[Any, Any])

LATE = timedelta(days=1)
"""A position that arrives this long after its time is flagged as old."""

PAUSE = timedelta(minutes=10)
"""Who sent no position for longer than this has paused: the page cuts the trail there."""

_MEASURED = ("accuracy", "altitude", "speed", "heading", "battery")
_METRES_PER_DEGREE = 111_320.0


def feature(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the position in ROW of the history as a GeoJSON point; longitude comes first [RFC 7946 section 3.1.1]."""
    altitude = row["altitude"]
    place = [row["longitude"], row["latitude"], *(() if altitude is None else (altitude,))]
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": place}, "properties": properties(row)}


def properties(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return everything but the position in ROW, as JSON: m, m/s, degrees, percent."""
    at, received = row["at"], row["received_at"]
    return {
        "device": row["device"],
        "at": rfc3339(at),
        "received": rfc3339(received),
        **{name: number(row[name]) for name in _MEASURED},
        "flags": list(flags(at, received)),
    }


def flags(at: datetime, received: datetime) -> tuple[str, ...]:
    """Return what is odd about the time AT of a position that was RECEIVED then."""
    if at == received:
        return ("unstamped",)
    if at > received + CLOCK_SKEW:
        return ("future",)
    return ("old",) if at < received - LATE else ()


def simplified(rows: Sequence[Row], tolerance_m: float) -> list[Row]:
    """Return ROWS, in order of time, without those that lie within TOLERANCE_M of the line without them, each device's for itself.

    What is kept pauses where ROWS do: both ends of a `PAUSE` stay, and so does something in every such while without one.
    """
    by_device: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        by_device.setdefault(row["device"], []).append(place)
    kept: list[int] = []
    for places in by_device.values():
        points = _in_metres([rows[place] for place in places])
        times = [rows[place]["at"] for place in places]
        for start, end in _ways(times):
            needed = [start + index for index in _needed(points[start:end], tolerance_m)]
            kept += [places[index] for index in _without_gaps(needed, times)]
    return [rows[place] for place in sorted(kept)]


def _ways(times: Sequence[datetime]) -> Iterator[tuple[int, int]]:
    """Yield where each way between two pauses starts, and where the next one does."""
    start = 0
    for index in range(1, len(times)):
        if times[index] - times[index - 1] > PAUSE:
            yield start, index
            start = index
    yield start, len(times)


def _without_gaps(needed: Sequence[int], times: Sequence[datetime]) -> Iterator[int]:
    """Yield what is NEEDED of a way and, where that would look like a pause, as little of what lies between as will do."""
    last = needed[0]
    yield last
    for following in needed[1:]:
        for between in range(last + 1, following):
            if times[between + 1] - times[last] > PAUSE:
                last = between
                yield last
        last = following
        yield last


def _in_metres(rows: Sequence[Mapping[Any, Any]]) -> list[tuple[float, float]]:
    """Return the positions of ROWS on a plane about the first of them; good for the length of a day's way."""
    if not rows:
        return []
    first = rows[0]
    shrink = math.cos(math.radians(first["latitude"]))
    # The short way round: a way over the antimeridian is no way round the world.
    east = [(row["longitude"] - first["longitude"] + 180) % 360 - 180 for row in rows]
    return [
        (degrees * shrink * _METRES_PER_DEGREE, row["latitude"] * _METRES_PER_DEGREE)
        for degrees, row in zip(east, rows, strict=True)
    ]


def _needed(points: Sequence[tuple[float, float]], tolerance: float) -> list[int]:
    """Return which POINTS the line needs, by Ramer, Douglas and Peucker; without recursion, as tracks are long."""
    needed = {0, len(points) - 1}
    stretches = [(0, len(points) - 1)]
    while stretches:
        first, last = stretches.pop()
        farthest, distance = first, tolerance
        for index in range(first + 1, last):
            if (away := _distance(points[index], points[first], points[last])) > distance:
                farthest, distance = index, away
        if farthest != first:
            needed.add(farthest)
            stretches += [(first, farthest), (farthest, last)]
    return sorted(needed)


def _distance(point: tuple[float, float], start: tuple[float, float], end: tuple[float, float]) -> float:
    """Return how far POINT lies from the stretch from START to END."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = dx * dx + dy * dy
    along = 0.0 if length == 0 else ((point[0] - start[0]) * dx + (point[1] - start[1]) * dy) / length
    along = min(1.0, max(0.0, along))
    return math.hypot(point[0] - start[0] - along * dx, point[1] - start[1] - along * dy)
