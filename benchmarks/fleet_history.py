"""A fleet's history, made inside the database: everybody sends a heartbeat a minute for eight hours of each day, in one session a day."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, func, insert, literal, null, select

from ingest.database import for_writing
from ingest.partitions import Partitions
from models.events import ActivityChanged, encode_event
from models.queries import ACTIVITY, COMPANY, DEVICE, EVENT, HISTORY, LISTENING, PRESENCE, SESSION, USER

COMPANY_NAME = "acme"
SMALL_COMPANY = "tiny"
"""A company with one user and one old event among all the others."""
MINUTES = 480
STARTS_AT = timedelta(hours=8)
_STATEMENTS_A_DAY = 4
"""How often a day somebody says what they work on; each is announced as well."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many USERS on so many DAYS, which end with LAST, a midnight."""

    users: int
    days: int
    last: datetime

    @classmethod
    def of(cls, rows: int, days: int) -> Fleet:
        """Return the fleet that sends at least ROWS heartbeats in DAYS, up to yesterday."""
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(math.ceil(rows / (days * MINUTES)), days, midnight - timedelta(days=1))

    @property
    def rows(self) -> int:
        return self.users * self.days * MINUTES

    def starts(self) -> Iterator[tuple[int, datetime]]:
        """Yield the number of each day and when its first heartbeat is sent."""
        for day in range(self.days):
            yield day, self.last - timedelta(days=self.days - 1 - day) + STARTS_AT

    def session_id(self, day: int, user_id: int | ColumnElement[Any]) -> Any:  # noqa: ANN401 a number, or SQL for one
        return day * self.users + user_id


def fill(engine: Engine, fleet: Fleet, workers: int = 1) -> None:
    """Insert FLEET's people, sessions, statements and events, and its history, day after day, over WORKERS connections."""
    with _writing(engine) as connection:
        _people(connection, fleet)
    for day, start in fleet.starts():
        with _writing(engine) as connection:
            _sessions(connection, fleet, day, start)
            _statements(connection, fleet, day, start)
    days = list(fleet.starts())
    threads = [
        threading.Thread(target=_days, args=(engine, fleet, days[number::workers]), name=f"days{number}")
        for number in range(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _writing(engine: Engine) -> Any:  # noqa: ANN401 a context manager of SQLAlchemy
    return for_writing(engine).begin()


def _people(connection: Connection, fleet: Fleet) -> None:
    users = range(1, fleet.users + 1)
    now = {"enrolled_at": fleet.last}
    connection.execute(
        insert(COMPANY), [{"id": 1, "name": COMPANY_NAME, **now}, {"id": 2, "name": SMALL_COMPANY, **now}]
    )
    connection.execute(insert(LISTENING).values(id=1, since=fleet.last, until=fleet.last + timedelta(days=1)))
    connection.execute(insert(USER), [{"id": user, "company_id": 1, "name": f"u{user:06d}", **now} for user in users])
    connection.execute(insert(USER).values(id=fleet.users + 1, company_id=2, name="u", **now))
    connection.execute(
        insert(EVENT), [_event(2, SMALL_COMPANY, fleet.users + 1, 0, fleet.last - timedelta(days=fleet.days))]
    )
    connection.execute(insert(DEVICE), [{"id": user, "user_id": user, "name": "phone", **now} for user in users])
    last = fleet.last + STARTS_AT
    presence = {
        "status": "online", "since": last, "devices": '[["phone","online"]]', "rev": 9, "published_rev": 9,
        "due_at": last + timedelta(minutes=MINUTES + 15),
    }  # fmt: skip
    connection.execute(insert(PRESENCE), [{"user_id": user, **presence} for user in users])
    if connection.dialect.name == "postgresql":
        for table in (COMPANY, USER, DEVICE):
            connection.exec_driver_sql(f"SELECT setval('{table.name}_id_seq', {fleet.users + 2})")


def _sessions(connection: Connection, fleet: Fleet, day: int, start: datetime) -> None:
    end = start + timedelta(minutes=MINUTES - 1)
    is_last = day == fleet.days - 1
    rows = [
        {
            "id": fleet.session_id(day, user), "user_id": user, "device_id": user, "token": f"{day:04d}-{user:08d}",
            "first_at": start, "heard_at": end, "superseded_at": None if is_last else start + timedelta(days=1),
            "latitude": 12.9, "longitude": 77.6, "accuracy": 5.0, "fix_at": end, "fix_seq": MINUTES - 1, "battery": 80.0,
            "battery_at": end, "battery_seq": MINUTES - 1, "newest_at": end, "newest_seq": MINUTES - 1,
        }
        for user in range(1, fleet.users + 1)
    ]  # fmt: skip
    connection.execute(insert(SESSION), rows)
    if is_last and connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT setval('device_session_id_seq', {fleet.session_id(day, fleet.users)})")


def _statements(connection: Connection, fleet: Fleet, day: int, start: datetime) -> None:
    for turn in range(_STATEMENTS_A_DAY):
        at = start + timedelta(minutes=turn * MINUTES // _STATEMENTS_A_DAY)
        users = range(1, fleet.users + 1)
        connection.execute(insert(ACTIVITY), [_statement(user, turn, at) for user in users])
        number = day * _STATEMENTS_A_DAY + turn
        connection.execute(insert(EVENT), [_event(1, COMPANY_NAME, user, number, at) for user in users])


def _statement(user: int, turn: int, at: datetime) -> dict[str, Any]:
    said = {"device": "phone", "project": _project(user, turn), "task": None}
    return {"user_id": user, "at": at, "digest": turn, "received_at": at, **said}


def _event(company_id: int, company: str, user: int, number: int, at: datetime) -> dict[str, Any]:
    event_id = f"00000000-0000-7000-{number:04x}-{user:012x}"
    event = ActivityChanged(at, _project(user, number % _STATEMENTS_A_DAY), None)
    return {
        "uuid": event_id, "company_id": company_id, "user_id": user, "channel": "events", "type": event.type, "at": at,
        "recorded_at": at, "confirmed_at": at, "payload": encode_event(event, event_id, company, f"u{user:06d}"),
    }  # fmt: skip


def _project(user: int, turn: int) -> str:
    return f"p{(user + turn) % 40}"


def _days(engine: Engine, fleet: Fleet, days: list[tuple[int, datetime]]) -> None:
    for day, start in days:
        with _writing(engine) as connection:
            Partitions().ensure(connection, [start.date()])
            connection.execute(_heartbeats(fleet, day, start, _moment_in(connection)))


def _moment_in(connection: Connection) -> Callable[[ColumnElement[Any]], ColumnElement[Any]]:
    """Return what makes a time of seconds since 1970."""
    return func.to_timestamp if connection.dialect.name == "postgresql" else lambda seconds: seconds * 1_000_000


def _heartbeats(fleet: Fleet, day: int, start: datetime, moment: Callable[[ColumnElement[Any]], Any]) -> Any:  # noqa: ANN401 an INSERT
    """Return the INSERT of a day, minute after minute, as the messages would come."""
    minute = select(literal(0).label("n")).cte("minute", recursive=True)
    minute = minute.union_all(select(minute.c.n + 1).where(minute.c.n < MINUTES - 1))
    received = literal(int(start.timestamp())) + minute.c.n * 60 + USER.c.id % 60
    row = {
        "at": moment(received - 1), "received_at": moment(received), "session_id": fleet.session_id(day, USER.c.id),
        "message": minute.c.n, "user_id": USER.c.id, "kind": literal(0), "latitude": 12.9 + minute.c.n * 0.0001,
        "longitude": 77.6 + USER.c.id * 0.00001, "accuracy": literal(5.0), "altitude": null(), "speed": literal(1.5),
        "heading": (minute.c.n % 360) * 1.0, "battery": literal(80.0),
    }  # fmt: skip
    rows = select(*row.values()).join_from(minute, USER, USER.c.company_id == 1).order_by(minute.c.n, USER.c.id)
    return HISTORY.insert().from_select(list(row), rows)
