"""How many there are: people and leases by state, and what waits to be announced; for the instruments, which ask a few times a minute."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, and_, case, false, func, literal, or_, select

from models.facts import Reason
from models.queries import EVENT, PRESENCE, SESSION
from models.standing import Terms


class Backlog(NamedTuple):
    """What waits for a broker to confirm it: how many events, since when, and how many people's states."""

    events: int
    oldest: datetime | None
    states: int


def backlog(connection: Connection) -> Backlog:
    """Return what has not been announced yet; indexes of their own hold just these rows."""
    waiting = EVENT.c.confirmed_at.is_(None)
    events = connection.execute(select(func.count()).select_from(EVENT).where(waiting)).scalar_one()
    oldest = connection.execute(select(EVENT.c.recorded_at).where(waiting).order_by(EVENT.c.id).limit(1)).scalar()
    behind = select(func.count()).select_from(PRESENCE).where(PRESENCE.c.rev > PRESENCE.c.published_rev)
    return Backlog(events, oldest, connection.execute(behind).scalar_one())


def people_by_status(connection: Connection) -> dict[str, int]:
    """Return how many people were announced to be in each status."""
    rows = select(PRESENCE.c.status, func.count()).group_by(PRESENCE.c.status)
    return {row[0]: row[1] for row in connection.execute(rows)}


class LeaseState(StrEnum):
    """What has become of the lease of a device's newest session."""

    HELD = "held"
    GRACE = "grace"
    """A will came, and the grace has not run out."""
    LOST = "lost"
    SILENT = "silent"
    LEFT = "left"
    """Signed off."""
    REVOKED = "revoked"


def leases_by_state(connection: Connection, now: datetime, terms: Terms) -> dict[LeaseState, int]:
    """Return how many devices' leases are in each state at NOW, by the rules of `models.presence.lease`."""
    row = SESSION.c
    quiet = row.heard_at <= now - terms.stale_after
    deaf = terms.listening_since > now - terms.stale_after
    silent = or_(and_(row.lapsed_at.is_not(None), quiet, row.heard_at < row.lapsed_at), false() if deaf else quiet)
    revoked = and_(row.left_at.is_not(None), row.left_reason == str(Reason.TOKEN_REVOKED))
    found = case(
        (revoked, literal(LeaseState.REVOKED)),
        (row.left_at.is_not(None), literal(LeaseState.LEFT)),
        (row.lost_at <= now - terms.offline_grace, literal(LeaseState.LOST)),
        (silent, literal(LeaseState.SILENT)),
        (row.lost_at.is_not(None), literal(LeaseState.GRACE)),
        else_=literal(LeaseState.HELD),
    ).label("state")
    rows = select(found, func.count()).where(row.superseded_at.is_(None), row.heard_at.is_not(None)).group_by(found)
    counted = {LeaseState(each[0]): each[1] for each in connection.execute(rows)}
    return {each: counted.get(each, 0) for each in LeaseState}
