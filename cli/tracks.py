"""Tracks in the formats that other programs read: GeoJSON, GPX, CSV and NDJSON; all of them stream."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

from cli.output import json_line
from models.events import rfc3339
from models.geojson import feature, properties

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


Row = Mapping[Any, Any]
"""One position of the history."""


def ndjson_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield one object a position."""
    for row in rows:
        yield json_line(_place(row) | properties(row))


def geojson_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a FeatureCollection of points."""
    yield '{"type": "FeatureCollection", "features": ['
    before = ""
    for row in rows:
        yield before + json_line(feature(row))
        before = ","
    yield "]}"


def csv_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a heading and one line a position [RFC 4180]; no text begins as a spreadsheet's formula does."""
    yield _csv_line(_HEADINGS)
    for row in rows:
        cells = _flat(row)
        yield _csv_line(cells[heading] for heading in _HEADINGS)


def _place(row: Row) -> dict[str, Any]:
    return {"latitude": row["latitude"], "longitude": row["longitude"]}


def _flat(row: Row) -> dict[str, Any]:
    """Return all that ROW says as texts and numbers."""
    said = properties(row)
    return _place(row) | said | {"flags": " ".join(said["flags"])}


def _csv_line(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([_harmless(cell) for cell in cells])
    return line.getvalue()


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def gpx_lines(name: str, tracks: Iterable[tuple[str, Iterable[Row]]]) -> Iterator[str]:
    """Yield a GPX 1.1 document NAME with one track a device, cut into segments where it paused."""
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield _GPX_OPEN
    yield f"<metadata><name>{escape(name)}</name></metadata>"
    for device, rows in tracks:
        yield f"<trk><name>{escape(device)}</name>"
        last: datetime | None = None
        for row in rows:
            if last is None or row["at"] - last > PAUSE:
                yield "<trkseg>" if last is None else "</trkseg><trkseg>"
            yield _trkpt(row)
            last = row["at"]
        yield "</trk>" if last is None else "</trkseg></trk>"
    yield "</gpx>"


def _trkpt(row: Row) -> str:
    height = "" if row["altitude"] is None else f"<ele>{row['altitude']!r}</ele>"
    more = "".join(
        f"<fieldbeat:{name}>{escape(str(value))}</fieldbeat:{name}>"
        for name, value in _flat(row).items()
        if name not in {"latitude", "longitude", "device", "at", "altitude"} and value not in (None, "")
    )
    place = f'lat="{row["latitude"]!r}" lon="{row["longitude"]!r}"'
    return f"<trkpt {place}>{height}<time>{rfc3339(row['at'])}</time><extensions>{more}</extensions></trkpt>"
