"""`fieldbeat user`: one user with devices and sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cli import output, settings
from cli.options import AsJson, Company, User
from cli.output import Column
from cli.quantities import age_text, time_text
from cli.reading import reading
from cli.wording import activity_text, position_text, standing_text
from models import queries
from models.events import State, number, rfc3339
from models.facts import Session, last_seen
from models.standing import Terms, lease

_DEVICES = (
    Column("device"),
    Column("status", coloured=True),
    Column("last seen", right=True),
    Column("battery", right=True),
)
_SESSIONS = (
    Column("device"),
    Column("session"),
    Column("first heard"),
    Column("last heard"),
    Column("lease", coloured=True),
    Column("until"),
    Column("because"),
)


def show(company: Company, user: User, as_json: AsJson = False) -> None:
    """Show one user: the present state, the devices, and the last 50 sessions with their leases."""
    chosen = settings.load()
    with reading(chosen) as look:
        user_id = look.user_id(company, user)
        state = look.state(user_id)
        sessions = queries.user_sessions(look.connection, user_id)
    if as_json:
        output.out_json(state.to_json() | {"sessions": [session_json(one, look.now, look.terms) for one in sessions]})
        return
    output.facts(_facts(state, look.now))
    output.out("")
    output.table(_DEVICES, _devices(state, look.now))
    output.out("")
    output.table(_SESSIONS, [_session(one, look.now, look.terms) for one in sessions])


def session_json(session: Session, now: datetime, terms: Terms) -> dict[str, Any]:
    """Return SESSION and its lease as JSON; the session of a device that sends no ids is null."""
    hold = lease(session, terms)
    return {
        "device": session.device,
        "session": session.id or None,
        "firstAt": rfc3339(session.first),
        "heardAt": rfc3339(session.heard),
        "lostAt": rfc3339(session.lost),
        "leftAt": rfc3339(session.left),
        "supersededAt": rfc3339(session.superseded),
        "holds": hold is not None and hold.end > now,
        "leaseEnd": None if hold is None else rfc3339(hold.end),
        "leaseReason": None if hold is None else str(hold.reason),
    }


def _facts(state: State, now: datetime) -> list[tuple[str, str]]:
    fix = state.fix
    where = position_text(fix) + (f" at {time_text(fix.stamp.at)}" if fix else "—")
    return [
        ("user", f"{state.user} of {state.company}"),
        ("status", f"{standing_text(state)} since {time_text(state.since)} ({age_text(state.since, now)})"),
        ("last seen", f"{time_text(state.last_seen)} ({age_text(state.last_seen, now)})"),
        ("position", where),
        ("activity", activity_text(state.project, state.task) or "—"),
        ("message", state.message or "—"),
    ]


def _devices(state: State, now: datetime) -> list[tuple[str, ...]]:
    return [
        (
            device.device,
            str(device.status),
            age_text(device.last_seen, now),
            "" if device.battery is None else f"{number(round(device.battery, 1))} %",
        )
        for device in state.devices
    ]


def _session(session: Session, now: datetime, terms: Terms) -> tuple[str, ...]:
    hold = lease(session, terms)
    if hold is None:
        verdict: tuple[str, ...] = "never held", "", ""
    elif hold.end > now:
        # An ordinary lease ends by silence, if nothing comes; only another end is worth a reason.
        verdict = "online", time_text(hold.end), "" if session.lost is None else str(hold.reason)
    else:
        verdict = "offline", time_text(hold.end), str(hold.reason)
    return session.device, session.id or "—", time_text(session.first), time_text(last_seen(session)), *verdict
