"""`fieldbeat who`: the roster of a company."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import output, roster, settings
from cli.options import AsJson, Company
from cli.reading import reading
from models import queries
from models.facts import Status


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
    output.table(roster.COLUMNS, [roster.row(state, look.now) for state in states], empty=nobody)
