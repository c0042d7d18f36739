"""`fieldbeat sweep`: run the sweep now."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import output, wiring
from cli.options import AsJson
from cli.settings import load
from ingest.sweep import sweep as run_sweep

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would end.")]


def sweep(dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """End the leases that have run out, and say how many users that concerned. A running service announces them."""
    settings = load()
    swept = run_sweep(wiring.store(settings, wiring.ready_engine(settings)), wiring.now(), dry_run=dry_run)
    if as_json:
        output.out_json({"users": swept.users, "events": swept.events, "dryRun": dry_run})
    else:
        would = "would be " if dry_run else ""
        output.out(f"{swept.users} users {would}settled, {swept.events} events {would}recorded")
