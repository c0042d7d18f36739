"""The history's partitions on PostgreSQL: the rows move in and out, days are made once, and nobody is locked out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, select, text
from sqlalchemy.exc import OperationalError

from ingest.database import REVISION, downgrade, for_writing, upgrade
from ingest.partitions import Partitions, day_of, days_older_than, drop, existing, name_of
from models.queries import COMPANY, DEVICE, HISTORY, SESSION, USER
from tests.integration.store_lab import T0

DAY = timedelta(days=1)
TODAY = day_of(T0)
on_postgresql = pytest.mark.parametrize("database_kind", ["postgresql"])


def row(message: int, received: datetime, at: datetime | None = None, session: int = 1) -> dict[str, Any]:
    """Return a row of the history; without AT its device gave no time."""
    return {
        "user_id": 1, "at": at or received, "session_id": session, "message": message, "received_at": received, "kind": 0,
        "latitude": 1.0, "longitude": 2.0,
    }  # fmt: skip


def people(connection: Connection, sessions: int) -> None:
    """Insert a user with a device and SESSIONS, as the first schema has them."""
    connection.execute(insert(COMPANY).values(id=1, name="acme", enrolled_at=T0))
    connection.execute(insert(USER).values(id=1, company_id=1, name="alice", enrolled_at=T0))
    connection.execute(insert(DEVICE).values(id=1, user_id=1, name="phone", enrolled_at=T0))
    for number in range(1, sessions + 1):
        connection.execute(
            text(
                "INSERT INTO device_session (id, user_id, device_id, token, first_at, left_reason)"
                " SELECT :id, 1, 1, :token, enrolled_at, 'signed_off' FROM company"
            ),
            {"id": number, "token": f"s{number}"},
        )


def test_migrating_keeps_every_row_and_notes_how_far_each_session_reaches(engine: Engine) -> None:
    rows = [
        row(1, T0, T0 - DAY),
        row(7, T0 + DAY, T0 + 2 * DAY),
        row(3, T0 + 3 * DAY),
        row(-9, T0, session=2),
        row(-8, T0 - DAY, T0, session=2),
    ]
    downgrade(engine, "0001")
    with engine.begin() as connection:
        people(connection, sessions=3)
        connection.execute(insert(HISTORY), rows)
    before = history(engine)
    upgrade(engine)
    assert history(engine) == before
    with engine.connect() as connection:
        newest = select(SESSION.c.newest_at, SESSION.c.newest_seq).order_by(SESSION.c.id)
        assert connection.execute(newest).all() == [(T0 + 2 * DAY, 7), (T0, -1), (None, -1)]
        days = {TODAY + number * DAY for number in (-1, 0, 1, 3)}
        assert existing(connection) == (days if engine.dialect.name == "postgresql" else set())
    assert downgrade(engine, "0001") == (REVISION, "0001")
    assert history(engine) == before
    assert upgrade(engine) == ("0001", REVISION)


def history(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        rows = connection.execute(select(HISTORY).order_by(HISTORY.c.session_id, HISTORY.c.message))
        return [dict(found) for found in rows.mappings()]


@on_postgresql
def test_a_day_is_made_once_and_known_once_it_is_committed(engine: Engine) -> None:
    partitions = Partitions()
    with engine.connect() as connection:
        partitions.ensure(connection, [TODAY, TODAY + DAY])
        connection.execute(insert(HISTORY), [row(1, T0), row(2, T0 + DAY)])
        connection.rollback()
    for _ in range(3):
        with engine.begin() as connection:
            partitions.ensure(connection, [TODAY, TODAY])
            connection.execute(insert(HISTORY), [row(1, T0)])
    with engine.connect() as connection:
        assert existing(connection) == {TODAY}


@on_postgresql
def test_a_day_that_was_dropped_is_made_again_once_it_is_forgotten(engine: Engine) -> None:
    partitions = Partitions()
    for _ in range(2):
        with engine.begin() as connection:
            partitions.ensure(connection, [TODAY])
    with engine.begin() as connection:
        drop(connection, TODAY, 1000)
    partitions.forget()
    with engine.begin() as connection:
        partitions.ensure(connection, [TODAY])
        assert existing(connection) == {TODAY}


@on_postgresql
def test_several_workers_may_need_the_same_new_day_at_once(engine: Engine) -> None:
    together = threading.Barrier(4)
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with for_writing(engine).begin() as connection:
                together.wait()
                Partitions().ensure(connection, [TODAY, TODAY + DAY])
                connection.execute(insert(HISTORY), [row(number, T0), row(number, T0 + DAY)])
        except Exception as error:  # noqa: BLE001 whatever it is, the test shows it
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,), name=f"worker{number}") for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(history(engine)) == 8


@on_postgresql
def test_a_new_day_waits_for_no_reader(engine: Engine) -> None:
    with reading(engine), engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = 100")
        Partitions().ensure(connection, [TODAY])
        with engine.connect() as another:
            another.exec_driver_sql("SET lock_timeout = 100")
            assert another.execute(select(HISTORY)).all() == []


@on_postgresql
def test_dropping_a_day_gives_up_when_a_reader_is_in_the_way(engine: Engine) -> None:
    with engine.begin() as connection:
        Partitions().ensure(connection, [TODAY])
    with reading(engine), pytest.raises(OperationalError, match="lock timeout"), engine.begin() as connection:
        drop(connection, TODAY, 50)
    with engine.begin() as connection:
        drop(connection, TODAY, 50)
        assert existing(connection) == set()


@on_postgresql
def test_only_days_that_were_over_are_older_than_a_time(engine: Engine) -> None:
    with engine.begin() as connection:
        Partitions().ensure(connection, [TODAY - DAY, TODAY, TODAY + DAY])
        assert days_older_than(connection, T0) == [TODAY - DAY]
        midnight = datetime.fromisoformat(f"{TODAY + DAY}T00:00:00Z")
        assert days_older_than(connection, midnight) == [TODAY - DAY, TODAY]
        assert days_older_than(connection, midnight - timedelta(microseconds=1)) == [TODAY - DAY]


def test_a_partition_bears_the_name_of_its_day() -> None:
    assert name_of(date(2026, 3, 9)) == "history_20260309"


@contextmanager
def reading(engine: Engine) -> Iterator[None]:
    """Keep a transaction open that has read the history."""
    with engine.connect() as connection:
        connection.execute(select(HISTORY).limit(1)).all()
        yield
