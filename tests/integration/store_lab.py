"""What the tests of the pipe share: messages as devices send them, stores on either database, and a look at the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, select
from sqlmodel import SQLModel

from broker.link import Delivery
from ingest.database import open_engine
from ingest.decode import Decoded, Ignored, Rejected, decode
from ingest.dialect import Dialect
from ingest.store import Store
from models import queries
from models.standing import Terms
from models.topics import Address, Channel

T0 = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
TERMS = Terms(stale_after=timedelta(minutes=15), offline_grace=timedelta(seconds=10))
COMPANY = "acme"
SESSIONS = tuple(f"01KAN98D0{number}QJ9Z3V6W8X2Y4T5R" for number in range(10))
"""Session ids as devices mint them, ULIDs, each 32 milliseconds newer than the last."""

Outcome = Decoded | Rejected | Ignored
Tables = dict[str, list[dict[str, Any]]]
NewEngine = Callable[[], Engine]


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def rfc3339(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def message(
    channel: Channel, payload: bytes, received: datetime, user: str = "alice", company: str = COMPANY
) -> Outcome:
    """Return what PAYLOAD means to the pipe."""
    return decode(Delivery(Address(company, channel, user).topic, payload, received, lambda: None))


def beat(received: datetime, user: str = "alice", company: str = COMPANY, **fields: Any) -> Outcome:  # noqa: ANN401 JSON
    """Return a heartbeat with FIELDS as the contract names them; a datetime among them is written out."""
    return message(Channel.PRESENCE, _json(fields), received, user, company)


def offline(received: datetime, user: str = "alice", company: str = COMPANY, **fields: Any) -> Outcome:  # noqa: ANN401 JSON
    return beat(received, user, company, type="offline", **fields)


def work(
    received: datetime,
    project: str | None,
    user: str = "alice",
    company: str = COMPANY,
    **fields: Any,  # noqa: ANN401 JSON
) -> Outcome:
    return message(Channel.ACTIVITY, _json({"projectId": project} | fields), received, user, company)


def say(received: datetime, text: str | None, user: str = "alice", company: str = COMPANY, **fields: Any) -> Outcome:  # noqa: ANN401 JSON
    return message(Channel.STATUS, _json({"message": text} | fields), received, user, company)


def _json(fields: dict[str, object]) -> bytes:
    said = {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in fields.items()}
    return msgspec.json.encode(said)


def listening_store(engine: Engine, **options: Any) -> Store:  # noqa: ANN401 as `Store` says
    """Return a store whose worker listens from T0 for a day."""
    store = Store(engine, TERMS, **options)
    listen(store, engine, T0, T0 + timedelta(days=1))
    return store


def listen(store: Store, engine: Engine, since: datetime, until: datetime) -> None:
    """Note that a worker of STORE listens from SINCE to UNTIL, without a break."""
    store.listen(since)
    with Dialect(engine).writing() as connection:
        connection.execute(queries.LISTENING.update().values(since=since, until=until))


def dump(engine: Engine) -> Tables:
    """Return all that the tables hold, without what is minted afresh each time."""
    with engine.connect() as connection:
        return {
            name: [
                dict(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
            ]
            for name, table in SQLModel.metadata.tables.items()
            if name not in ("listening", "turn")
        }


def count(engine: Engine, table: str) -> int:
    return len(dump(engine)[table])


def events(engine: Engine, user: str = "alice", company: str = COMPANY) -> list[dict[str, Any]]:
    """Return the events of USER, oldest first, each without its id."""
    with engine.connect() as connection:
        told = [msgspec.json.decode(payload) for _, payload in queries.events(connection, company, user=user)]
    return [
        {name: value for name, value in event.items() if name not in ("id", "companyId", "userId")} for event in told
    ]


def told(engine: Engine, user: str = "alice") -> list[str]:
    """Return the types of the events of USER, oldest first."""
    return [event["type"] for event in events(engine, user)]


def roster(engine: Engine, now: datetime, company: str = COMPANY) -> dict[str, dict[str, Any]]:
    """Return the states of all users as they are shown, by user."""
    with engine.connect() as connection:
        listening = queries.listening_since(connection, now, 10.0)
        terms = Terms(TERMS.stale_after, TERMS.offline_grace, listening)
        return {state.user: state.to_json() for state in queries.roster(connection, company, now, terms)}


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def only(items: list[Any]) -> Any:  # noqa: ANN401 whatever the list holds
    """Return the one thing in ITEMS."""
    if len(items) != 1:
        pytest.fail(f"one expected, not {items}")
    return items[0]


def full_beat(second: float = 0, **fields: Any) -> Outcome:  # noqa: ANN401 JSON
    said: dict[str, Any] = {
        "device": "tablet-7", "session": SESSIONS[0], "seq": 4, "at": at(second - 1), "latitude": 12.9716, "longitude": 77.5946,
        "accuracy": 5.0, "altitude": 920.5, "speed": 1.5, "heading": 359.5, "battery": 80, "projectId": "p1",
        "taskId": "t9", "status": "away",
    }  # fmt: skip
    return beat(at(second), **{**said, **fields})
