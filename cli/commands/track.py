"""`fieldbeat track`: the position history of a user, for people and for other programs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli import output, settings
from cli.options import AnyDevice, Company, From, Until, User, span
from cli.output import Column, Progress
from cli.quantities import time_text
from cli.reading import Reading, reading
from cli.tracks import Row, csv_lines, geojson_lines, gpx_lines, ndjson_lines
from models import queries
from models.errors import BadSetting
from models.geojson import flags

_PROGRESS_EVERY = 1000


class Format(StrEnum):
    """How a track is written."""

    TABLE = "table"
    GEOJSON = "geojson"
    GPX = "gpx"
    CSV = "csv"
    NDJSON = "ndjson"


_COLUMNS = (
    Column("at"),
    Column("received"),
    Column("device"),
    Column("latitude", right=True),
    Column("longitude", right=True),
    Column("accuracy m", right=True),
    Column("altitude m", right=True),
    Column("speed m/s", right=True),
    Column("heading °", right=True),
    Column("battery %", right=True),
    Column("flags"),
)


def track(
    company: Company,
    user: User,
    device: AnyDevice = None,
    since: From = None,
    until: Until = None,
    style: Annotated[
        Format | None,
        typer.Option("--format", help="By default what the file's name says, else a table.", case_sensitive=False),
    ] = None,
    file: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format geojson.")] = False,
) -> None:
    """Show where a user was, in order of the devices' times.

    A point is flagged `future` when its time is over 2 minutes after its receipt, `old` when it is over a day before, and `unstamped`
    when the device gave no time, so that the time of receipt stands in. In CSV, text that a spreadsheet would take for a formula is quoted.
    """
    chosen = settings.load()
    if as_json and style not in (None, Format.GEOJSON):
        raise BadSetting("--json and --format exclude each other")
    style = Format.GEOJSON if as_json else style or _by_name(file)
    with reading(chosen) as look:
        start, end = span(since, until, look.now)
        asked = Asked(look, company, user, look.user_id(company, user), device, start, end)
        if style is not Format.TABLE:
            with output.progress(f"track of {user}") as tell:
                _write(file, _lines(style, asked, tell))
        elif file is None:
            output.table(
                _COLUMNS, [_row(point) for point in asked.points()], empty=f"no positions of {user} in that time"
            )
        else:
            raise BadSetting("--format must be geojson, gpx, csv or ndjson to write a file")


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose track, and of which time."""

    look: Reading
    company: str
    user: str
    user_id: int
    device: str | None
    since: datetime | None
    until: datetime | None

    def points(self, device: str | None = None) -> Iterator[Row]:
        """Yield the positions, of DEVICE or of those that were asked for; they stream from the database."""
        return queries.track(
            self.look.connection, self.user_id, device=device or self.device, since=self.since, until=self.until
        )

    def by_device(self) -> Iterator[tuple[str, Iterator[Row]]]:
        """Yield each device with its positions."""
        known = (one.device for one in self.look.state(self.user_id).devices)
        for device in known if self.device is None else (self.device,):
            yield device, self.points(device)


def _by_name(file: Path | None) -> Format:
    suffix = "" if file is None else file.suffix.lower().removeprefix(".")
    if suffix == "json":
        return Format.GEOJSON
    return Format(suffix) if suffix in set(Format) else Format.TABLE


def _lines(style: Format, asked: Asked, tell: Progress) -> Iterator[str]:
    match style:
        case Format.GPX:
            tracks = ((device, _counted(points, device, tell)) for device, points in asked.by_device())
            return gpx_lines(f"{asked.user} of {asked.company}", tracks)
        case Format.CSV:
            return csv_lines(_counted(asked.points(), "", tell))
        case Format.NDJSON:
            return ndjson_lines(_counted(asked.points(), "", tell))
        case _:
            return geojson_lines(_counted(asked.points(), "", tell))


def _counted(points: Iterable[Row], step: str, tell: Progress) -> Iterator[Row]:
    for count, point in enumerate(points, 1):
        if count % _PROGRESS_EVERY == 0:
            tell(step, count)
        yield point


def _write(file: Path | None, lines: Iterable[str]) -> None:
    """Write LINES to FILE, which is there whole or not at all, or to standard output."""
    if file is None or str(file) == "-":
        for line in lines:
            output.out(line)
        return
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{line}\n" for line in lines)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _row(row: Row) -> tuple[str, ...]:
    numbers = (row[name] for name in ("accuracy", "altitude", "speed", "heading", "battery"))
    return (
        time_text(row["at"]),
        time_text(row["received_at"]),
        row["device"],
        f"{row['latitude']:.5f}",
        f"{row['longitude']:.5f}",
        *("" if value is None else f"{value:.1f}".removesuffix(".0") for value in numbers),
        " ".join(flags(row["at"], row["received_at"])),
    )
