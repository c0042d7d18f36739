"""The ids of companies, users and devices, which enrol themselves with their first authenticated message."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, func, select, tuple_

from ingest.dialect import Dialect
from models.queries import COMPANY, DEVICE, PRESENCE, USER, slices

MAX_DEVICES = 100
"""How many devices a user may have: more are a broken or a hostile client."""
_MAX_CACHED = 500_000

Name = tuple[str, str]
"""A user: company and user id."""
DeviceName = tuple[int, str]
"""A device: the row of its user, and its id."""


class UserIds(Struct, frozen=True, gc=False):
    """The rows of a user and of its company."""

    company: int
    user: int


class Register:
    """Looks ids up, and remembers those that were committed."""

    def __init__(self, dialect: Dialect, *, enrol: bool) -> None:
        self._dialect = dialect
        self._enrol = enrol
        self._users: dict[Name, UserIds] = {}
        self._devices: dict[DeviceName, int] = {}

    def remember(self, users: dict[Name, UserIds], devices: dict[DeviceName, int]) -> None:
        """Keep ids whose transaction was committed."""
        if len(self._users) + len(self._devices) > _MAX_CACHED:
            self._users, self._devices = {}, {}
        self._users.update(users)
        self._devices.update(devices)

    def users(self, connection: Connection, wanted: Collection[Name], now: datetime) -> dict[Name, UserIds]:
        """Return the ids of the users WANTED, enrolling new ones; those that may not enrol are left out."""
        found = {name: ids for name in wanted if (ids := self._users.get(name)) is not None}
        missing = sorted(set(wanted) - found.keys())
        if missing:
            found.update(_find_users(connection, missing))
            new = [name for name in missing if name not in found]
            if new and self._enrol:
                self._enrol_users(connection, new, now)
                found.update(_find_users(connection, new))
        return found

    def devices(self, connection: Connection, wanted: Collection[DeviceName], now: datetime) -> dict[DeviceName, int]:
        """Return the ids of the devices WANTED, enrolling new ones up to `MAX_DEVICES` a user."""
        found = {name: row_id for name in wanted if (row_id := self._devices.get(name)) is not None}
        missing = sorted(set(wanted) - found.keys())
        if missing:
            found.update(_find_devices(connection, missing))
            new = self._admissible(connection, [name for name in missing if name not in found])
            if new:
                rows = [{"user_id": user_id, "name": device, "enrolled_at": now} for user_id, device in new]
                connection.execute(self._dialect.insert(DEVICE).on_conflict_do_nothing(), rows)
                found.update(_find_devices(connection, new))
        return found

    def _enrol_users(self, connection: Connection, new: Iterable[Name], now: datetime) -> None:
        new = list(new)
        companies = sorted({company for company, _ in new})
        rows = [{"name": company, "enrolled_at": now} for company in companies]
        connection.execute(self._dialect.insert(COMPANY).on_conflict_do_nothing(), rows)
        ids: dict[str, int] = {}
        for some in slices(companies):
            found = connection.execute(select(COMPANY.c.name, COMPANY.c.id).where(COMPANY.c.name.in_(some)))
            ids.update({row[0]: row[1] for row in found})
        users = [{"company_id": ids[company], "name": user, "enrolled_at": now} for company, user in new]
        connection.execute(self._dialect.insert(USER).on_conflict_do_nothing(), users)
        presences = [{"user_id": ids.user} for ids in _find_users(connection, new).values()]
        connection.execute(self._dialect.insert(PRESENCE).on_conflict_do_nothing(), [_BLANK | row for row in presences])

    def _admissible(self, connection: Connection, new: list[DeviceName]) -> list[DeviceName]:
        """Return those of the NEW devices for which their users have room."""
        room: dict[int, int] = {}
        for some in slices(sorted({user_id for user_id, _ in new})):
            counted = (
                select(DEVICE.c.user_id, func.count()).where(DEVICE.c.user_id.in_(some)).group_by(DEVICE.c.user_id)
            )
            room.update({row[0]: MAX_DEVICES - row[1] for row in connection.execute(counted)})
        admitted = []
        for name in new:
            left = room.get(name[0], MAX_DEVICES)
            room[name[0]] = left - 1
            if left > 0:
                admitted.append(name)
        return admitted


_BLANK = {"status": "offline", "devices": "[]", "rev": 0, "published_rev": 0}


def _find_users(connection: Connection, names: Collection[Name]) -> dict[Name, UserIds]:
    found: dict[Name, UserIds] = {}
    for some in slices(sorted(names)):
        rows = select(COMPANY.c.name, USER.c.name, COMPANY.c.id, USER.c.id).join_from(USER, COMPANY)
        rows = rows.where(tuple_(COMPANY.c.name, USER.c.name).in_(some))
        found.update({(row[0], row[1]): UserIds(row[2], row[3]) for row in connection.execute(rows)})
    return found


def _find_devices(connection: Connection, names: Collection[DeviceName]) -> dict[DeviceName, int]:
    found: dict[DeviceName, int] = {}
    for some in slices(sorted(names)):
        rows = select(DEVICE.c.user_id, DEVICE.c.name, DEVICE.c.id).where(
            tuple_(DEVICE.c.user_id, DEVICE.c.name).in_(some)
        )
        found.update({(row[0], row[1]): row[2] for row in connection.execute(rows)})
    return found
