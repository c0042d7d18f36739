"""The people of a batch: known from before, loaded, or enrolled with their first authenticated message."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, literal, select

from ingest.decode import Decoded, Rejected
from ingest.dialect import Dialect
from ingest.sending import Sending
from models import people
from models.people import COMPANY, DEVICE, PRESENCE, SESSION, USER, Filed, Member, Name
from models.succession import Key
from models.tables import UtcDateTime
from models.values import rows

MAX_DEVICES = 100
"""How many devices a user may have: more are a broken or a hostile client."""
_MAX_KNOWN = 1_250_000
"""How many people are kept in memory, some 2.5 KiB each: whoever is not known has to be loaded, which costs as much as everything else."""


class Admitted(Struct, frozen=True):
    """The messages of those who may speak, each with its user; the others; and the rows to be made for sessions that are new.

    `all_known` tells that the database was not asked.
    """

    messages: list[tuple[Member, Decoded]]
    refused: list[Rejected]
    new_sessions: set[int]
    all_known: bool = False


class Register:
    """Keeps the people that this process has written, for as long as nobody else writes them."""

    def __init__(self, dialect: Dialect, *, enrol: bool) -> None:
        self._dialect = dialect
        self._enrol = enrol
        self._known: dict[Name, Member] = {}
        self._by_id: dict[int, Member] = {}

    def forget(self) -> None:
        """Know nobody any more: somebody else has written, or what was written did not come to be."""
        self._known, self._by_id = {}, {}

    def make_room(self) -> None:
        """Forget when too many are known. Not within a transaction, which counts on those that it has met."""
        if len(self._known) > _MAX_KNOWN:
            self.forget()

    def numbered(self, connection: Connection, user_ids: Collection[int], *, lock: bool) -> list[Member]:
        """Return those of USER_IDS that there are."""
        missing = [user_id for user_id in user_ids if user_id not in self._by_id]
        if missing:
            self._know(people.numbered(connection, missing, lock=lock))
        return [member for user_id in user_ids if (member := self._by_id.get(user_id)) is not None]

    def named(self, connection: Connection, names: Collection[Name], *, lock: bool) -> list[Member]:
        """Return those of the users NAMES that are enrolled."""
        missing = [name for name in names if name not in self._known]
        if missing:
            self._know(people.named(connection, missing, lock=lock))
        return [member for name in names if (member := self._known.get(name)) is not None]

    def admit(self, way: Sending, decoded: Sequence[Decoded], now: datetime, *, lock: bool) -> Admitted:
        """Return who sent the messages DECODED; users, devices and sessions that are new are enrolled."""
        known, messages = self._known, []
        for one in decoded:
            member = known.get((one.company, one.user))
            if member is None or (one.session is not None and one.session not in member.filed):
                return self._admit_strangers(way.settled(), decoded, now, lock=lock)
            messages.append((member, one))
        return Admitted(messages, [], set(), all_known=True)

    def _admit_strangers(
        self, connection: Connection, decoded: Sequence[Decoded], now: datetime, *, lock: bool
    ) -> Admitted:
        """Admit messages of which some are of users or sessions that are not at hand."""
        known = self._known
        missing = {name for one in decoded if (name := (one.company, one.user)) not in known}
        if missing:
            self._find(connection, missing, now, lock=lock)
        strange = [
            (member, key)
            for one in decoded
            if (key := one.session) is not None
            and (member := known.get((one.company, one.user))) is not None
            and key not in member.filed
        ]
        admitted = Admitted([], [], self._admit_sessions(connection, strange, now) if strange else set())
        for one in decoded:
            member = known.get((one.company, one.user))
            if member is None:
                admitted.refused.append(_refuse(one, "the user is not enrolled, and FIELDBEAT_ENROL is closed"))
            elif one.session is None or one.session in member.filed:
                admitted.messages.append((member, one))
            else:
                admitted.refused.append(_refuse(one, f"the user has {MAX_DEVICES} devices already"))
        return admitted

    def _know(self, members: Iterable[Member]) -> None:
        for member in members:
            self._known[member.name] = self._by_id[member.user_id] = member

    def _find(self, connection: Connection, names: Collection[Name], now: datetime, *, lock: bool) -> None:
        self._know(people.named(connection, names, lock=lock))
        new = [name for name in names if name not in self._known]
        if new and self._enrol:
            self._enrol_users(connection, sorted(new), now)
            self._know(people.named(connection, new, lock=lock))

    def _enrol_users(self, connection: Connection, names: Collection[Name], now: datetime) -> None:
        """Enrol the users NAMES; another process may be doing the same."""
        insert, enrolled_at = self._dialect.insert, literal(now, UtcDateTime)
        companies = rows(connection, [(company,) for company in sorted({company for company, _ in names})], str)
        users = rows(connection, names, str, str)
        named = (COMPANY.c.name == users.c.v0) & (USER.c.name == users.c.v1)
        made = (
            (COMPANY, ["name", "enrolled_at"], select(companies.c.v0, enrolled_at)),
            (
                USER,
                ["company_id", "name", "enrolled_at"],
                select(COMPANY.c.id, users.c.v1, enrolled_at)
                .join_from(users, COMPANY, COMPANY.c.name == users.c.v0)
                .order_by(users.c.v0, users.c.v1),
            ),
            (
                PRESENCE,
                ["user_id", *_BLANK],
                select(USER.c.id, *map(literal, _BLANK.values()))
                .join_from(USER, COMPANY, USER.c.company_id == COMPANY.c.id)
                .join(users, named),
            ),
        )
        for table, columns, chosen in made:
            # SQLite takes ON CONFLICT after a SELECT only where that has a WHERE [sqlite.org/lang_upsert.html].
            connection.execute(
                insert(table).from_select(columns, chosen.where(literal(1) == 1)).on_conflict_do_nothing()
            )

    def _admit_sessions(self, connection: Connection, strange: list[tuple[Member, Key]], now: datetime) -> set[int]:
        """Find the sessions STRANGE, or make ids for them, as far as their users may have the devices; return the new ids."""
        new_devices = self._admit_devices(connection, strange, now)
        wanted = {
            (row_id, key[1]): (member, key)
            for member, key in strange
            if (row_id := member.devices.get(key[0])) is not None
        }
        old = [pair for pair in wanted if pair[0] not in new_devices]
        if old:
            members = {member.user_id: member for member, _ in wanted.values()}
            people.load_sessions(connection, members, old)
        new = [(member, key) for member, key in wanted.values() if key not in member.filed]
        ids = self._dialect.new_ids(connection, SESSION, len(new)) if new else []
        for (member, key), row_id in zip(new, ids, strict=True):
            member.filed[key] = Filed(row_id)
        return set(ids)

    def _admit_devices(self, connection: Connection, strange: list[tuple[Member, Key]], now: datetime) -> set[int]:
        """Enrol the devices of the sessions STRANGE that are new, up to `MAX_DEVICES` a user; return their ids."""
        new: dict[tuple[int, str], Member] = {}
        room: dict[int, int] = {}
        for member, (device, _) in strange:
            if device in member.devices or (member.user_id, device) in new:
                continue
            left = room.get(member.user_id, MAX_DEVICES - len(member.devices))
            room[member.user_id] = left - 1
            if left > 0:
                new[member.user_id, device] = member
        if not new:
            return set()
        ids = self._dialect.new_ids(connection, DEVICE, len(new))
        devices = [(row_id, user_id, now, device) for row_id, (user_id, device) in zip(ids, new, strict=True)]
        self._dialect.inserting(DEVICE, ("id", "user_id", "enrolled_at", "name")).write(connection, devices)
        for row_id, ((_, device), member) in zip(ids, new.items(), strict=True):
            member.devices[device] = row_id
        return set(ids)


_BLANK = {"status": "offline", "devices": "[]", "rev": 0, "published_rev": 0}


def _refuse(one: Decoded, reason: str) -> Rejected:
    return Rejected(one.topic, one.raw, one.received, reason)
