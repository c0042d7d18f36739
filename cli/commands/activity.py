"""`fieldbeat activity`: who worked on what, from when to when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cli import output, settings
from cli.options import AnyUser, AsJson, Company, From, Until, span
from cli.output import Column
from cli.quantities import duration_text, time_text
from cli.reading import reading
from models.events import rfc3339
from models.worklog import Interval, activities

_COLUMNS = (
    Column("user"),
    Column("project"),
    Column("task"),
    Column("from"),
    Column("to"),
    Column("for", right=True),
)


def activity(
    company: Company, user: AnyUser = None, since: From = None, until: Until = None, as_json: AsJson = False
) -> None:
    """Show the activities that overlap a time, each as a whole, with how long they lasted; one that goes on has no end yet."""
    chosen = settings.load()
    with reading(chosen) as look:
        start, end = span(since, until, look.now)
        look.check(company, user)
        intervals = list(activities(look.connection, company, user, start, end))
    if as_json:
        output.out_json([_json(one, look.now) for one in intervals])
    else:
        output.table(_COLUMNS, [_row(one, look.now) for one in intervals], empty="no activity in that time")


def _seconds(interval: Interval, now: datetime) -> float:
    return max(0.0, ((interval.end or now) - interval.start).total_seconds())


def _json(interval: Interval, now: datetime) -> dict[str, Any]:
    return {
        "userId": interval.user,
        "projectId": interval.project,
        "taskId": interval.task,
        "from": rfc3339(interval.start),
        "to": rfc3339(interval.end),
        "seconds": round(_seconds(interval, now), 3),
    }


def _row(interval: Interval, now: datetime) -> tuple[str, ...]:
    return (
        interval.user,
        interval.project,
        interval.task or "",
        time_text(interval.start),
        "goes on" if interval.end is None else time_text(interval.end),
        duration_text(_seconds(interval, now)),
    )
