"""The rules of presence in words: why a lease holds or ended, and what that makes of its user."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from cli.quantities import duration_text, time_text
from models.events import State
from models.facts import Reason, Session, Status
from models.standing import Terms, lease


def decisive(sessions: Iterable[Session], now: datetime, terms: Terms) -> Session | None:
    """Return the session that decides: the newest that holds a lease, else the one whose lease ended last."""
    leases = [(hold, one) for one in sessions if one.superseded is None and (hold := lease(one, terms)) is not None]
    holding = [one for hold, one in leases if hold.end > now]
    if holding:
        return max(holding, key=lambda one: (one.first, one.key))
    return max(leases, key=lambda pair: (pair[0].end, pair[1].first, pair[1].key))[1] if leases else None


def rule_sentence(state: State, session: Session | None, terms: Terms) -> str:
    """Return the rule that made the status of STATE, by the SESSION that decides."""
    if session is None:
        return "A user is offline until the first heartbeat, and none has been received."
    if state.status is Status.AWAY:
        return f"A user is away while the newest session that holds a lease says so, and that of {session.device} does."
    if state.status is Status.ONLINE:
        return f"A user is online while any session holds a lease, and that of {session.device} does."
    ending = _ending(session, lease_reason(session, terms), terms)
    return f"A user is offline when the last lease ends, and that of {session.device} was the last: {ending}."


def lease_reason(session: Session, terms: Terms) -> Reason | None:
    hold = lease(session, terms)
    return None if hold is None else hold.reason


def session_sentence(session: Session, now: datetime, terms: Terms) -> str:
    """Return why the lease of SESSION holds, or ended."""
    hold = lease(session, terms)
    if hold is None:
        return "it never held a lease, because no heartbeat of it was received."
    if hold.end <= now:
        return f"its lease ended at {time_text(hold.end)}: {_ending(session, hold.reason, terms)}."
    if hold.reason is Reason.STALE_SESSION:
        heard = f"a heartbeat was received at {time_text(session.heard)}"
        return f"it holds a lease until {time_text(hold.end)}, because {heard}."
    return f"it holds a lease only until {time_text(hold.end)}: {_ending(session, hold.reason, terms)}."


def _ending(session: Session, reason: Reason | None, terms: Terms) -> str:
    match reason:
        case Reason.SIGNED_OFF:
            return f"it signed off at {time_text(session.left)} (signed_off)"
        case Reason.TOKEN_REVOKED:
            return f"its token was revoked at {time_text(session.left)} (token_revoked)"
        case Reason.CONNECTION_LOST if session.lost is not None:
            grace = duration_text(terms.offline_grace.total_seconds())
            return f"its last will came at {time_text(session.lost)}, and {grace} of grace went by (connection_lost)"
        case Reason.CONNECTION_LOST:
            return f"a newer session of the device began at {time_text(session.superseded)} (connection_lost)"
        case _:
            silence = duration_text(terms.stale_after.total_seconds())
            return f"it was heard last at {time_text(session.heard)}, and {silence} of silence went by (stale_session)"


def listening_sentence(terms: Terms, now: datetime, last: datetime | None) -> str:
    """Return whether silence counts: LAST is when the service is known to have listened."""
    since = terms.listening_since
    if since < now:
        return f"The service has been listening since {time_text(since)}; silence before that does not count."
    ended = "never" if last is None else f"not since {time_text(last)}"
    return f"The service is not listening ({ended}), so silence does not count."
