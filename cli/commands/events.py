"""`fieldbeat events`: the event log, and on request what is added to it."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from cli import output, settings
from cli.options import AnyUser, AsJson, Company
from cli.reading import Reading, reading
from models import queries

_PAGE = 1000
_POLL_S = 0.5
_OVERLAP = 500
"""How many ids a poll goes back: several writers on one PostgreSQL commit in another order than they count."""
_HEAD = ("id", "type", "companyId", "userId", "timestamp")


def events(
    company: Company,
    user: AnyUser = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until interrupted.")] = False,
    last: Annotated[int | None, typer.Option(min=0, help="Begin with this many of the newest, instead of all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the events of a company, oldest first; with --json as NDJSON, exactly as they are announced."""
    chosen = settings.load()
    with reading(chosen) as look:
        look.check(company, user)
        shown: deque[int] = deque(maxlen=_OVERLAP)
        for event_id, payload in _log(look, company, user, last):
            _print(payload, as_json)
            shown.append(event_id)
        if follow:
            _follow(look, company, user, set(shown), as_json)


def _log(look: Reading, company: str, user: str | None, last: int | None) -> Iterator[tuple[int, bytes]]:
    if last is not None:
        yield from queries.events(look.connection, company, user=user, limit=last, newest=True) if last else ()
        return
    after = 0
    while page := queries.events(look.connection, company, user=user, after=after, limit=_PAGE):
        yield from page
        after = page[-1][0]


def _follow(look: Reading, company: str, user: str | None, known: set[int], as_json: bool) -> None:
    """Print what is added, by id; look back a little each time, for what was committed late."""
    first = min(known) if known else _newest(look, company) + 1
    while True:
        look.connection.rollback()  # a transaction would go on seeing the past
        page = queries.events(look.connection, company, user=user, after=first - 1, limit=_PAGE)
        fresh = [(event_id, payload) for event_id, payload in page if event_id not in known]
        for _, payload in fresh:
            _print(payload, as_json)
        output.flush()
        known = set(sorted(known | {event_id for event_id, _ in fresh})[-_OVERLAP:])
        first = max(first, min(known, default=first))
        if not fresh:
            time.sleep(_POLL_S)


def _newest(look: Reading, company: str) -> int:
    return max((event_id for event_id, _ in queries.events(look.connection, company, limit=1, newest=True)), default=0)


def _print(payload: bytes, as_json: bool) -> None:
    output.out(payload.decode() if as_json else _line(json.loads(payload)))


def _line(event: dict[str, Any]) -> str:
    details = "  ".join(f"{key}={value}" for key, value in event.items() if key not in _HEAD and value is not None)
    return output.printable(f"{event['timestamp']}  {event['userId']:<16}  {event['type']:<16}  {details}".rstrip())
