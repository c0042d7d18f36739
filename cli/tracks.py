"""Tracks in the formats that other programs read: GeoJSON, GPX, CSV and NDJSON; all of them stream."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self
from xml.sax.saxutils import escape

from cli.output import json_line
from models.events import number, rfc3339
from models.facts import CLOCK_SKEW

LATE = timedelta(days=1)
"""A point that arrives this long after its time is flagged as old."""
PAUSE = timedelta(minutes=10)
"""A gap this long begins a new segment of a GPX track."""

_HEADINGS = (
    "latitude",
    "longitude",
    "device",
    "at",
    "received",
    "accuracy",
    "altitude",
    "speed",
    "heading",
    "battery",
    "flags",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_GPX_OPEN = '<gpx version="1.1" creator="fieldbeat" xmlns="http://www.topografix.com/GPX/1/1" xmlns:fieldbeat="urn:fieldbeat:gpx:1">'


class Point(NamedTuple):
    """One position of the history: degrees WGS 84, m, m/s, percent."""

    device: str
    at: datetime
    received: datetime
    latitude: float
    longitude: float
    accuracy: float | None
    altitude: float | None
    speed: float | None
    heading: float | None
    battery: float | None
    flags: tuple[str, ...]

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> Self:
        """Return the point in ROW of the history."""
        at, received = row["at"], row["received_at"]
        return cls(
            device=row["device"],
            at=at,
            received=received,
            latitude=row["latitude"],
            longitude=row["longitude"],
            accuracy=row["accuracy"],
            altitude=row["altitude"],
            speed=row["speed"],
            heading=row["heading"],
            battery=row["battery"],
            flags=flags(at, received),
        )

    def properties(self) -> dict[str, Any]:
        """Return everything but the position, as JSON."""
        return {
            "device": self.device,
            "at": rfc3339(self.at),
            "received": rfc3339(self.received),
            "accuracy": number(self.accuracy),
            "altitude": number(self.altitude),
            "speed": number(self.speed),
            "heading": number(self.heading),
            "battery": number(self.battery),
            "flags": list(self.flags),
        }


def flags(at: datetime, received: datetime) -> tuple[str, ...]:
    """Return what is odd about the time AT of a point that was RECEIVED then."""
    if at == received:
        return ("unstamped",)
    if at > received + CLOCK_SKEW:
        return ("future",)
    return ("old",) if at < received - LATE else ()


def ndjson_lines(points: Iterable[Point]) -> Iterator[str]:
    """Yield one object a point."""
    for point in points:
        yield json_line({"latitude": point.latitude, "longitude": point.longitude} | point.properties())


def geojson_lines(points: Iterable[Point]) -> Iterator[str]:
    """Yield a FeatureCollection of points; longitude comes first [RFC 7946 section 3.1.1]."""
    yield '{"type": "FeatureCollection", "features": ['
    before = ""
    for point in points:
        place = [point.longitude, point.latitude, *(() if point.altitude is None else (point.altitude,))]
        geometry = {"type": "Point", "coordinates": place}
        yield before + json_line({"type": "Feature", "geometry": geometry, "properties": point.properties()})
        before = ","
    yield "]}"


def csv_lines(points: Iterable[Point]) -> Iterator[str]:
    """Yield a heading and one row a point [RFC 4180]; no text begins as a spreadsheet's formula does."""
    yield _csv_line(_HEADINGS)
    for point in points:
        row = point.properties() | {
            "latitude": point.latitude,
            "longitude": point.longitude,
            "flags": " ".join(point.flags),
        }
        yield _csv_line(row[heading] for heading in _HEADINGS)


def _csv_line(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([_harmless(cell) for cell in cells])
    return line.getvalue()


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def gpx_lines(name: str, tracks: Iterable[tuple[str, Iterable[Point]]]) -> Iterator[str]:
    """Yield a GPX 1.1 document NAME with one track a device, cut into segments where it paused."""
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield _GPX_OPEN
    yield f"<metadata><name>{escape(name)}</name></metadata>"
    for device, points in tracks:
        yield f"<trk><name>{escape(device)}</name>"
        last: datetime | None = None
        for point in points:
            if last is None or point.at - last > PAUSE:
                yield "<trkseg>" if last is None else "</trkseg><trkseg>"
            yield _trkpt(point)
            last = point.at
        yield "</trk>" if last is None else "</trkseg></trk>"
    yield "</gpx>"


def _trkpt(point: Point) -> str:
    height = "" if point.altitude is None else f"<ele>{point.altitude!r}</ele>"
    more = "".join(
        f"<fieldbeat:{name}>{escape(str(value))}</fieldbeat:{name}>"
        for name, value in (point.properties() | {"flags": " ".join(point.flags)}).items()
        if name not in {"device", "at", "altitude"} and value not in (None, "")
    )
    place = f'lat="{point.latitude!r}" lon="{point.longitude!r}"'
    return f"<trkpt {place}>{height}<time>{rfc3339(point.at)}</time><extensions>{more}</extensions></trkpt>"
