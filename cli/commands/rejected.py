"""`fieldbeat rejected`: the messages that were refused, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli import output, settings
from cli.options import AnyCompany, AsJson
from cli.output import Column
from cli.quantities import time_text
from cli.reading import reading
from models import queries
from models.events import rfc3339

_COLUMNS = Column("received"), Column("topic"), Column("reason"), Column("bytes", right=True), Column("begins with")
_SHOWN = 60


def rejected(
    company: AnyCompany = None,
    last: Annotated[int, typer.Option(min=1, help="Show this many of the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show the messages that were refused last, newest first, with the reason of each."""
    chosen = settings.load()
    with reading(chosen) as look:
        rows = queries.rejected(look.connection, company, last)
        if company is not None and not rows:
            look.check_company(company)
    if as_json:
        output.out_json([_json(row) for row in rows])
    else:
        output.table(_COLUMNS, [_row(row) for row in rows], empty="nothing was refused")


def _text(head: bytes) -> str:
    return head.decode("utf-8", "backslashreplace")


def _json(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "receivedAt": rfc3339(row["received_at"]),
        "companyId": row["company"],
        "topic": row["topic"],
        "reason": row["reason"],
        "size": row["size"],
        "head": _text(row["head"]),
    }


def _row(row: Mapping[Any, Any]) -> tuple[str, ...]:
    head = " ".join(_text(row["head"]).split())
    shown = head if len(head) <= _SHOWN else head[: _SHOWN - 1] + "…"
    return time_text(row["received_at"]), row["topic"], row["reason"], str(row["size"]), shown
