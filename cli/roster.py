"""The roster as a table: one row a user, for `who` and for `watch`."""

from __future__ import annotations

from datetime import datetime

from cli.output import Column
from cli.quantities import age_text
from cli.wording import activity_text, device_text, position_text, standing_text
from models.events import State
from models.facts import Reason, Status

COLUMNS = (
    Column("user"),
    Column("status", coloured=True),
    Column("for", right=True),
    Column("last seen", right=True),
    Column("position", yields=True),
    Column("activity", yields=True),
    Column("message", yields=True),
    Column("devices", yields=True),
)
_URGENCY = {Reason.STALE_SESSION: 0, Reason.CONNECTION_LOST: 1, Reason.TOKEN_REVOKED: 2}
_AWAY, _ONLINE, _SIGNED_OFF = 3, 4, 5


def row(state: State, now: datetime) -> tuple[str, ...]:
    """Return the cells of STATE at NOW."""
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


def urgency(state: State) -> tuple[int, float, str]:
    """Return what sorts the most urgent first: gone silent, lost, revoked, away, online, signed off; those the longest first."""
    if state.status is Status.OFFLINE:
        rank = _SIGNED_OFF if state.reason is None else _URGENCY.get(state.reason, _SIGNED_OFF)
    else:
        rank = _AWAY if state.status is Status.AWAY else _ONLINE
    return rank, 0.0 if state.last_seen is None else state.last_seen.timestamp(), state.user
