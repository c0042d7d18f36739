"""Options that several commands take, and what checks them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from cli.quantities import parse_duration, parse_time
from models.errors import BadSetting
from models.topics import ID_RULE, is_id


def checked(value: str | None) -> str | None:
    """Return VALUE if it may name a company, a user or a device; a callback of options."""
    if value is not None and not is_id(value):
        raise typer.BadParameter(f"{value[:80]!r} {ID_RULE}")
    return value


Company = Annotated[str, typer.Option("--company", help="The company.", callback=checked)]
AnyCompany = Annotated[
    str | None, typer.Option("--company", help="The company; all of them if left out.", callback=checked)
]
User = Annotated[str, typer.Option("--user", help="The user.", callback=checked)]
AnyUser = Annotated[str | None, typer.Option("--user", help="The user; all of them if left out.", callback=checked)]
AnyDevice = Annotated[
    str | None, typer.Option("--device", help="The device; all of them if left out.", callback=checked)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
From = Annotated[str | None, typer.Option("--from", help="From this time: RFC 3339, or how long ago, as in 2h.")]
Until = Annotated[str | None, typer.Option("--to", help="To before this time: RFC 3339, or how long ago, as in 30m.")]


def duration(option: str, text: str) -> timedelta:
    """Return the duration given as OPTION, or raise `BadSetting`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadSetting(f"{option}: {error}") from None


def span(since: str | None, until: str | None, now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the times given as `--from` and `--to`, or raise `BadSetting`."""
    times: list[datetime | None] = []
    for option, text in (("--from", since), ("--to", until)):
        try:
            times.append(None if text is None else parse_time(text, now))
        except ValueError as error:
            raise BadSetting(f"{option}: {error}") from None
    start, end = times
    if start is not None and end is not None and start >= end:
        raise BadSetting("--from must be before --to")
    return start, end
