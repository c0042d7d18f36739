"""`fieldbeat who`: the roster of a company."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from cli import output, settings
from cli.options import AsJson, Company
from cli.output import Column
from cli.quantities import age_text
from cli.reading import reading
from cli.wording import activity_text, device_text, position_text, standing_text
from models import queries
from models.events import State
from models.facts import Status

_COLUMNS = (
    Column("user"),
    Column("status", coloured=True),
    Column("for", right=True),
    Column("last seen", right=True),
    Column("position"),
    Column("activity"),
    Column("message"),
    Column("devices"),
)


def who(
    company: Company,
    status: Annotated[
        Status | None, typer.Option(help="Only the users with this status.", case_sensitive=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show who of a company is here, where, and doing what.

    It tells the truth at this moment, also about leases that ran out since the last sweep.
    """
    chosen = settings.load()
    with reading(chosen) as look:
        look.check_company(company)
        states = queries.roster(look.connection, company, look.now, look.terms)
    states = [state for state in states if status is None or state.status is status]
    if as_json:
        output.out_json([state.to_json() for state in states])
        return
    nobody = f"nobody of {company} is {status}" if status else f"{company} has no users"
    output.table(_COLUMNS, [_row(state, look.now) for state in states], empty=nobody)


def _row(state: State, now: datetime) -> tuple[str, ...]:
    return (
        state.user,
        standing_text(state),
        age_text(state.since, now),
        age_text(state.last_seen, now),
        position_text(state.fix),
        activity_text(state.project, state.task),
        state.message or "",
        ", ".join(device_text(device) for device in state.devices),
    )
