"""Recorded positions as rows, read from CSV (`device,time,lat,lon,speed_mps,course_deg,acc_m,alt_m`) or from GPX."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cli.fleet.messages import Report
from models.errors import BadSetting

COLUMNS = ("device", "time", "lat", "lon")
"""The columns that a CSV file must have; it may have speed_mps, course_deg, acc_m and alt_m."""

_GZIP = b"\x1f\x8b"
_AIS_NO_SPEED_MPS = 102.3 * 1852 / 3600
"""102.3 knots: "not available" [ITU-R M.1371, speed over ground]; recordings give it as 52.628 or 52.6 m/s."""
_AIS_NO_SPEED_WITHIN_MPS = 0.03
_FULL_CIRCLE = 360


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded line. Rows of equal `key` (device, time, latitude, longitude as written) are the same observation."""

    device: str
    time: datetime | None
    report: Report
    key: tuple[str, ...]


def read(path: Path) -> list[Row]:
    """Return the rows of the file at PATH in their order; raise `BadSetting` when it is no recording, `OSError` when it is unreadable."""
    try:
        data = path.read_bytes()
        if data.startswith(_GZIP):
            data = gzip.decompress(data)
        names = [suffix for suffix in path.suffixes if suffix != ".gz"]
        if names[-1:] == [".gpx"]:
            device = path.name.removesuffix(".gz").removesuffix(".gpx")
            return list(from_gpx(data, device))
        return list(from_csv(data.decode("utf-8-sig")))
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadSetting(f"{path}: not a CSV or GPX file: {error}") from None
    except BadSetting as error:
        raise BadSetting(f"{path}: {error}") from None


def from_csv(text: str) -> Iterator[Row]:
    """Yield the rows of CSV TEXT; raise `BadSetting` that names the line which is none."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, restval="")
    try:
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise BadSetting(f"no column {missing[0]!r}; the first line must name {', '.join(COLUMNS)}")
        for line in reader:
            yield _row(line)
    except (csv.Error, ValueError, OverflowError) as error:
        raise BadSetting(f"line {reader.line_num}: {error}") from None


def _row(line: Mapping[str, str]) -> Row:
    report = Report(
        latitude=_number(line["lat"]),
        longitude=_number(line["lon"]),
        accuracy=_not_negative(_number(line.get("acc_m", ""))),
        altitude=_number(line.get("alt_m", "")),
        speed=speed(_number(line.get("speed_mps", ""))),
        heading=heading(_number(line.get("course_deg", ""))),
    )
    return Row(line["device"], _time(line["time"]), report, tuple(line[name] for name in COLUMNS))


def speed(mps: float | None) -> float | None:
    """Return a speed in m/s, None where it is unknown: negative, or what AIS transponders say that have none."""
    if mps is None or abs(mps - _AIS_NO_SPEED_MPS) < _AIS_NO_SPEED_WITHIN_MPS:
        return None
    return _not_negative(mps)


def heading(course: float | None) -> float | None:
    """Return a heading, 0 ≤ h < 360; 360 and 511 are what AIS transponders say that have none, and others may say -1."""
    return course if course is not None and 0 <= course < _FULL_CIRCLE else None


def _not_negative(value: float | None) -> float | None:
    return value if value is not None and value >= 0 else None


def _number(text: str) -> float | None:
    if not text.strip():
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _time(text: str) -> datetime | None:
    """Return the aware time that TEXT is; one without a zone is UTC."""
    if not text.strip():
        return None
    time = datetime.fromisoformat(text.strip())
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def from_gpx(data: bytes, device: str) -> Iterator[Row]:
    """Yield the points of all tracks in GPX DATA as rows of DEVICE; routes and waypoints are plans, not recordings."""
    import gpxpy
    from gpxpy.gpx import GPXException

    try:
        tracks = gpxpy.parse(data.decode("utf-8-sig")).tracks
    except (GPXException, ValueError) as error:
        raise BadSetting(f"not GPX: {error}") from None
    for point in (point for track in tracks for segment in track.segments for point in segment.points):
        time = None if point.time is None else _time(point.time.isoformat())
        report = Report(
            latitude=point.latitude,
            longitude=point.longitude,
            altitude=point.elevation,
            speed=speed(point.speed),
            heading=heading(point.course),
        )
        yield Row(device, time, report, (device, str(point.time), str(point.latitude), str(point.longitude)))
