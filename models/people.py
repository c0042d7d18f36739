"""People as the database has them: each with the sessions that may still matter, the row ids, and how far the history reaches."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, RowMapping, Select, select

from models.facts import Session
from models.rows import person_of, session_of
from models.standing import Person
from models.succession import Key
from models.tables import Company, Device, DeviceSession, PresenceRow, User, table
from models.values import integers, rows

COMPANY, USER, DEVICE = table(Company), table(User), table(Device)
SESSION, PRESENCE = table(DeviceSession), table(PresenceRow)

Name = tuple[str, str]
"""A user, as the outside names them: company and user id."""


class Filed(Struct, gc=False):
    """The row of a session. Its history holds no `at` and no `seq` beyond the newest ones: what is beyond them cannot be a copy."""

    row_id: int
    newest_at: datetime | None = None
    newest_seq: int = -1


class Member(Struct, gc=False):
    """One user of a company."""

    name: Name
    company_id: int
    user_id: int
    person: Person
    filed: dict[Key, Filed] = {}
    devices: dict[str, int] = {}
    """The rows of the user's devices, by the devices' ids."""

    def add(self, row_id: int, session: Session, newest_at: datetime | None, newest_seq: int) -> None:
        """Add a session that the database has."""
        self.filed[session.key] = Filed(row_id, newest_at, newest_seq)
        self.person = replace(self.person, sessions={**self.person.sessions, session.key: session})


_MEMBERS = (
    select(COMPANY.c.name.label("company"), USER.c.company_id, USER.c.name, PRESENCE)
    .join_from(USER, COMPANY, USER.c.company_id == COMPANY.c.id)
    .join(PRESENCE, PRESENCE.c.user_id == USER.c.id)
)


def named(connection: Connection, names: Collection[Name], *, lock: bool = False) -> list[Member]:
    """Return those of the users NAMES that are enrolled; LOCK them until the commit."""
    wanted = rows(connection, sorted(names), str, str)
    found = _MEMBERS.join(wanted, (COMPANY.c.name == wanted.c.v0) & (USER.c.name == wanted.c.v1))
    return _loaded(connection, found.order_by(PRESENCE.c.user_id), lock=lock)


def numbered(connection: Connection, user_ids: Collection[int], *, lock: bool = False) -> list[Member]:
    """Return those of USER_IDS that there are; LOCK them until the commit."""
    found = _MEMBERS.where(PRESENCE.c.user_id.in_(integers(connection, user_ids)))
    return _loaded(connection, found.order_by(PRESENCE.c.user_id), lock=lock)


def members(connection: Connection, company: str, after: str, limit: int | None) -> list[Member]:
    """Return up to LIMIT users of COMPANY by name, beginning AFTER a name."""
    found = _MEMBERS.where(COMPANY.c.name == company, USER.c.name > after).order_by(USER.c.name).limit(limit)
    return _loaded(connection, found)


def _loaded(connection: Connection, wanted: Select[tuple[object, ...]], *, lock: bool = False) -> list[Member]:
    if lock:
        # In the order of the ids, so that two batches never wait for each other in a circle.
        wanted = wanted.with_for_update(of=PRESENCE, key_share=True)
    found: dict[int, Member] = {}
    for row in connection.execute(wanted).mappings().all():
        name = row["company"], row["name"]
        found[row["user_id"]] = Member(name, row["company_id"], row["user_id"], person_of(row, {}), {}, {})
    if found:
        ids = integers(connection, found)
        for device in connection.execute(select(DEVICE).where(DEVICE.c.user_id.in_(ids))).all():
            found[device.user_id].devices[device.name] = device.id
        current = SESSION.c.user_id.in_(ids), SESSION.c.superseded_at.is_(None)
        _add_sessions(found, connection.execute(select(SESSION).where(*current)).mappings().all())
    return list(found.values())


def _add_sessions(members: dict[int, Member], found: Iterable[RowMapping]) -> None:
    devices = {row_id: name for member in members.values() for name, row_id in member.devices.items()}
    for row in found:
        session = session_of(row, devices[row["device_id"]])
        members[row["user_id"]].add(row["id"], session, row["newest_at"], row["newest_seq"])


def load_sessions(connection: Connection, members: dict[int, Member], wanted: Collection[tuple[int, str]]) -> None:
    """Add to MEMBERS, by user id, the sessions WANTED, as pairs of device row and session id, whether superseded or not."""
    chosen = rows(connection, wanted, int, str)
    found = select(SESSION).join(chosen, (SESSION.c.device_id == chosen.c.v0) & (SESSION.c.token == chosen.c.v1))
    _add_sessions(members, connection.execute(found).mappings())


def device_sessions(connection: Connection, member: Member, device: str) -> dict[Key, Session]:
    """Return all sessions of one device of MEMBER, which then has their rows; its person stays as it is."""
    found = {}
    wanted = select(SESSION).where(SESSION.c.device_id == member.devices[device])
    for row in connection.execute(wanted).mappings():
        session = session_of(row, device)
        found[session.key] = session
        if session.key not in member.filed:
            member.filed[session.key] = Filed(row["id"], row["newest_at"], row["newest_seq"])
    return found
