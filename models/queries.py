"""The read side: SELECTs as functions of an open connection; no engine, no clock, no writing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, select, tuple_

from models import people, presence
from models.events import State
from models.facts import Session
from models.people import Member
from models.rows import session_of
from models.standing import Terms
from models.tables import (
    ActivityRow,
    Company,
    Device,
    DeviceSession,
    EventRow,
    HistoryRow,
    ListeningRow,
    PresenceRow,
    RejectedRow,
    RevocationRow,
    StatusRow,
    User,
    table,
)
from models.topics import Channel
from models.values import integers

STREAMED = {"yield_per": 1000}

_MOST_SESSIONS = 20
"""Of how many of a user's devices the present sessions are looked into for recent messages."""

COMPANY, USER, DEVICE, SESSION = table(Company), table(User), table(Device), table(DeviceSession)
PRESENCE, HISTORY, ACTIVITY, STATUS = table(PresenceRow), table(HistoryRow), table(ActivityRow), table(StatusRow)
EVENT, REJECTED, REVOCATION, LISTENING = table(EventRow), table(RejectedRow), table(RevocationRow), table(ListeningRow)

_SESSION_AND_DEVICE = select(SESSION, DEVICE.c.name.label("device")).join_from(
    SESSION, DEVICE, SESSION.c.device_id == DEVICE.c.id
)


def listening_since(connection: Connection, now: datetime, gap_s: float) -> datetime:
    """Return since when a worker has been listening without a break; NOW when none is, so that silence does not count."""
    row = connection.execute(select(LISTENING.c.since, LISTENING.c.until)).first()
    if row is None or (now - row.until).total_seconds() > gap_s:
        return now
    return row.since  # type: ignore[no-any-return] # the column's type says so


def last_listened(connection: Connection) -> datetime | None:
    """Return until when a worker is known to have listened, None for never."""
    return connection.execute(select(LISTENING.c.until)).scalar()


def _users(company: str) -> Select[Any]:
    return (
        select(USER.c.id, USER.c.name).join_from(USER, COMPANY).where(COMPANY.c.name == company).order_by(USER.c.name)
    )


def company_exists(connection: Connection, company: str) -> bool:
    return connection.execute(select(COMPANY.c.id).where(COMPANY.c.name == company)).first() is not None


def find_user(connection: Connection, company: str, user: str) -> int | None:
    """Return the id of the row of USER of COMPANY, None when there is none."""
    return connection.execute(_users(company).where(USER.c.name == user)).scalar()


def roster(
    connection: Connection, company: str, now: datetime, terms: Terms, *, after: str = "", limit: int | None = None
) -> list[State]:
    """Return the states of COMPANY's users, true at NOW, by name, beginning AFTER a name."""
    return [_state(member, now, terms) for member in people.members(connection, company, after, limit)]


def states(connection: Connection, user_ids: Collection[int], now: datetime, terms: Terms) -> dict[int, State]:
    """Return the states of USER_IDS, true at NOW."""
    return {member.user_id: _state(member, now, terms) for member in people.numbered(connection, user_ids)}


def _state(member: Member, now: datetime, terms: Terms) -> State:
    return presence.state(*member.name, member.person, now, terms)


def published(connection: Connection, user_ids: Collection[int], since: datetime) -> dict[int, datetime]:
    """Return when the states of those of USER_IDS were published that were after SINCE and have no newer one yet."""
    recently = PRESENCE.c.published_at > since, PRESENCE.c.rev == PRESENCE.c.published_rev
    chosen = PRESENCE.c.user_id.in_(integers(connection, user_ids))
    found = connection.execute(select(PRESENCE.c.user_id, PRESENCE.c.published_at).where(chosen, *recently))
    return dict(found.all())


def unpublished(connection: Connection, limit: int) -> list[int]:
    """Return users whose present state has not been published."""
    changed = PRESENCE.c.rev > PRESENCE.c.published_rev
    rows = select(PRESENCE.c.user_id).where(changed).order_by(PRESENCE.c.user_id).limit(limit)
    return list(connection.execute(rows).scalars())


def all_users(connection: Connection, after: int, limit: int) -> list[int]:
    """Return up to LIMIT user ids AFTER one, in order."""
    rows = select(PRESENCE.c.user_id).where(PRESENCE.c.user_id > after).order_by(PRESENCE.c.user_id).limit(limit)
    return list(connection.execute(rows).scalars())


def due_users(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Return users of whom time may have changed something, the longest due first."""
    rows = select(PRESENCE.c.user_id).where(PRESENCE.c.due_at <= now).order_by(PRESENCE.c.due_at).limit(limit)
    return list(connection.execute(rows).scalars())


def unconfirmed_events(connection: Connection, before: datetime | None, limit: int) -> list[RowMapping]:
    """Return events that no broker has confirmed, in order, recorded BEFORE a time if one is given."""
    rows = (
        select(EVENT.c.id, EVENT.c.channel, EVENT.c.payload, COMPANY.c.name.label("company"), USER.c.name.label("user"))
        .join_from(EVENT, USER, EVENT.c.user_id == USER.c.id)
        .join(COMPANY, EVENT.c.company_id == COMPANY.c.id)
        .where(EVENT.c.confirmed_at.is_(None))
        .order_by(EVENT.c.id)
        .limit(limit)
    )
    if before is not None:
        rows = rows.where(EVENT.c.recorded_at <= before)
    return list(connection.execute(rows).mappings())


def user_sessions(connection: Connection, user_id: int, limit: int = 50) -> list[Session]:
    """Return the user's sessions, newest first."""
    # Found by their devices: no index holds all sessions of a user.
    rows = _SESSION_AND_DEVICE.where(DEVICE.c.user_id == user_id).order_by(SESSION.c.first_at.desc()).limit(limit)
    return [session_of(row, row["device"]) for row in connection.execute(rows).mappings()]


_MESSAGE = (
    select(HISTORY, SESSION.c.token, DEVICE.c.name.label("device"))
    .join_from(HISTORY, SESSION, HISTORY.c.session_id == SESSION.c.id)
    .join(DEVICE, SESSION.c.device_id == DEVICE.c.id)
)


def recent_messages(connection: Connection, user_id: int, limit: int) -> list[RowMapping]:
    """Return the messages of the user that were received last, newest first, each with its device and session.

    No index has a user's messages by receipt. Those that were received last are among the newest by their own time, the newest by
    `seq` of each device's present session, and those that its lease hangs on; of a device with an old clock and no `seq` the rest
    may be missing.
    """
    found = list(
        connection.execute(_newest(_MESSAGE.where(HISTORY.c.user_id == user_id), HISTORY.c.at, limit)).mappings()
    )
    present = SESSION.c.user_id == user_id, SESSION.c.superseded_at.is_(None)
    newest = select(SESSION).where(*present).order_by(SESSION.c.first_at.desc()).limit(_MOST_SESSIONS)
    for session in connection.execute(newest).mappings().all():
        own = _MESSAGE.where(HISTORY.c.session_id == session["id"], HISTORY.c.received_at >= session["first_at"])
        found += connection.execute(_newest(own.where(HISTORY.c.message >= 0), HISTORY.c.message, limit)).mappings()
        decisive = [time for name in ("heard_at", "lost_at", "left_at") if (time := session[name]) is not None]
        found += connection.execute(own.where(HISTORY.c.received_at.in_(decisive)).limit(limit)).mappings()
    different = {(row["session_id"], row["message"]): row for row in found}
    return sorted(different.values(), key=itemgetter("received_at"), reverse=True)[:limit]


def _newest(rows: Select[Any], by: ColumnElement[Any], limit: int) -> Select[Any]:
    return rows.order_by(by.desc()).limit(limit)


def track(
    connection: Connection,
    user_id: int,
    *,
    device: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> Iterator[RowMapping]:
    """Yield the user's positions from SINCE to before UNTIL, in order of `at`; rows stream."""
    rows = (
        select(HISTORY, SESSION.c.token, DEVICE.c.name.label("device"))
        .join_from(HISTORY, SESSION, HISTORY.c.session_id == SESSION.c.id)
        .join(DEVICE, SESSION.c.device_id == DEVICE.c.id)
        .where(HISTORY.c.user_id == user_id, HISTORY.c.kind == 0, HISTORY.c.latitude.is_not(None))
        .order_by(HISTORY.c.at, HISTORY.c.session_id, HISTORY.c.message)
        .limit(limit)
    )
    if device is not None:
        rows = rows.where(DEVICE.c.name == device)
    if since is not None:
        rows = rows.where(HISTORY.c.at >= since)
    if until is not None:
        rows = rows.where(HISTORY.c.at < until)
    yield from connection.execute(rows, execution_options=STREAMED).mappings()


LAST_ID = 2**63 - 1
"""Greater than any that is in use."""


class EventStretch(NamedTuple):
    """The events of a company, or of one user: a stretch of the index whose first column OF is KEY, by id."""

    of: ColumnElement[int]
    key: int
    as_range: bool

    def between(self, after: int = 0, before: int = LAST_ID) -> ColumnElement[bool]:
        """Return what picks the events after one id and before another."""
        if self.as_range:
            # So said it can take no other index. PostgreSQL would look for the few events of a small company among everybody's.
            place = tuple_(self.of, EVENT.c.id)
            return (place > tuple_(self.key, after)) & (place < tuple_(self.key, before))
        return (self.of == self.key) & (EVENT.c.id > after) & (EVENT.c.id < before)

    def newest_first(self) -> list[ColumnElement[int]]:
        return [self.of.desc(), EVENT.c.id.desc()]


def events_of(connection: Connection, company: str, user: str | None) -> EventStretch:
    """Return where the events of COMPANY are, or of its USER; a stretch without events when there is no such one."""
    as_range = connection.dialect.name != "sqlite"  # which seeks by the first column alone then
    if user is not None:
        return EventStretch(EVENT.c.user_id, find_user(connection, company, user) or 0, as_range)
    found = connection.execute(select(COMPANY.c.id).where(COMPANY.c.name == company)).scalar()
    return EventStretch(EVENT.c.company_id, found or 0, as_range)


def events(
    connection: Connection,
    company: str,
    *,
    user: str | None = None,
    after: int = 0,
    limit: int = 1000,
    newest: bool = False,
) -> list[tuple[int, bytes]]:
    """Return up to LIMIT events of COMPANY AFTER an id as (id, JSON), oldest first; of the NEWEST ones on request."""
    wanted = events_of(connection, company, user)
    order = wanted.newest_first() if newest else [wanted.of, EVENT.c.id]
    rows = select(EVENT.c.id, EVENT.c.payload).where(wanted.between(after), EVENT.c.channel == str(Channel.EVENTS))
    rows = rows.order_by(*order).limit(limit)
    found = [(row[0], row[1]) for row in connection.execute(rows)]
    return found[::-1] if newest else found


def rejected(connection: Connection, company: str | None, limit: int) -> list[RowMapping]:
    """Return the messages that were refused last, newest first."""
    rows = select(REJECTED).order_by(REJECTED.c.id.desc()).limit(limit)
    if company is not None:
        rows = rows.where(REJECTED.c.company == company)
    return list(connection.execute(rows).mappings())


def revocations(connection: Connection) -> tuple[frozenset[str], dict[tuple[str, str], datetime]]:
    """Return the revoked token ids, and up to when the tokens of which users are revoked."""
    tokens, users = set(), {}
    for row in connection.execute(select(REVOCATION)).mappings():
        if row["token_id"]:
            tokens.add(row["token_id"])
        else:
            users[row["company"], row["user"]] = row["revoked_at"]
    return frozenset(tokens), users


def counts(connection: Connection) -> dict[str, int]:
    """Return how much there is of what an operator asks after."""
    wanted = {
        "companies": select(func.count()).select_from(COMPANY),
        "users": select(func.count()).select_from(USER),
        "devices": select(func.count()).select_from(DEVICE),
        "unconfirmed_events": select(func.count()).select_from(EVENT).where(EVENT.c.confirmed_at.is_(None)),
        "rejected": select(func.count()).select_from(REJECTED),
    }
    return {name: connection.execute(query).scalar_one() for name, query in wanted.items()}
