"""Leases that ran out: found by their due time, so that the cost follows the number that is due, not the number that exists."""

from __future__ import annotations

from datetime import datetime

from ingest.store import Store, Swept

SLICE = 500
"""How many users one transaction settles, so that the pipe never waits long."""


def sweep(store: Store, now: datetime, *, dry_run: bool = False) -> Swept:
    """End all leases that have run out at NOW; with DRY_RUN only say how many."""
    users = events = 0
    while True:
        swept = store.sweep(now, SLICE if not dry_run else 1_000_000, dry_run=dry_run)
        users, events = users + swept.users, events + swept.events
        if dry_run or swept.users < SLICE:
            return Swept(users, events)
