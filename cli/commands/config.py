"""`fieldbeat config`: the settings in force."""

from __future__ import annotations

from cli import output
from cli.masking import show
from cli.options import AsJson
from cli.output import Column
from cli.settings import load_with_origins


def config(as_json: AsJson = False) -> None:
    """Show every setting with its value and where it came from; secrets are masked.

    The environment comes before `.env`, and `.env` before `fieldbeat.toml`, both in the working directory.
    """
    loaded = load_with_origins()
    for warning in loaded.warnings:
        output.complain(f"warning: {warning}")
    shown = show(loaded)
    if as_json:
        output.out_json([{"name": row.name, "value": row.value, "source": row.origin} for row in shown])
        return
    columns = Column("setting"), Column("value"), Column("from"), Column("should be")
    output.table(columns, [(row.name, row.value or "—", row.origin, row.meaning) for row in shown])
