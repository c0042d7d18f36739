"""Many rows at once, on both databases: what is written is what is read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from ingest.dialect import Dialect
from models.errors import StoreRefused
from models.queries import ACTIVITY, COMPANY, PRESENCE, USER
from tests.integration.store_lab import T0

COLUMNS = ("user_id", "at", "digest", "received_at", "device", "project", "task")


def rows(engine: Engine, *columns: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 SQLAlchemy's columns
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(columns[0]))]


def test_inserted_rows_are_read_back_as_they_were(engine: Engine) -> None:
    given = [
        (1, T0, 2**62, T0 + timedelta(microseconds=1), "phone", "Ärger 🚒", None),
        (2, T0 - timedelta(days=20_000), -(2**63), T0, None, None, 'tab\t"quote"\\N\n'),
        (3, T0.replace(year=9999), 0, T0.replace(year=1), "", "", ""),
    ]
    dialect = Dialect(engine)
    with dialect.writing() as connection:
        dialect.inserting(ACTIVITY, COLUMNS).write(connection, iter(given))
    assert rows(engine, *(ACTIVITY.c[name] for name in COLUMNS)) == given


def many(first: int, number: int) -> list[tuple[Any, ...]]:
    """Return more rows than a socket takes at once."""
    return [(user, T0, 0, T0, "phone", "p" * 100, None) for user in range(first, first + number)]


def test_rows_are_written_while_something_is_computed(engine: Engine) -> None:
    dialect = Dialect(engine)
    bulk = dialect.inserting(ACTIVITY, COLUMNS)
    with dialect.writing() as connection, dialect.sending(connection) as way:
        for first in range(1, 3000, 1000):
            way.send(bulk.pack(many(first, 1000)))
        found = way.settled().scalar(select(func.count()).select_from(ACTIVITY))
    assert found == 3000
    assert rows(engine, *(ACTIVITY.c[name] for name in COLUMNS)) == many(1, 3000)


def test_what_was_sent_and_refused_makes_whoever_comes_next_fail_with_its_reason(engine: Engine) -> None:
    dialect = Dialect(engine)

    def send(*parts: list[tuple[Any, ...]]) -> None:
        with dialect.writing() as connection, dialect.sending(connection) as way:
            for part in parts:
                way.send(dialect.inserting(ACTIVITY, COLUMNS).pack(part))

    with pytest.raises(StoreRefused, match=r"(?i)unique"):
        send(many(1, 2), many(2, 1), many(3, 1))
    assert rows(engine, ACTIVITY.c.user_id) == []
    send(many(1, 2), many(3, 1))
    assert rows(engine, ACTIVITY.c.user_id) == [(1,), (2,), (3,)]


def test_many_rows_that_the_database_refuses_leave_nothing(engine: Engine) -> None:
    dialect = Dialect(engine)
    with pytest.raises(StoreRefused), dialect.writing() as connection:
        dialect.inserting(ACTIVITY, COLUMNS).write(connection, [*many(1, 3000), *many(2, 1)])
    assert rows(engine, ACTIVITY.c.user_id) == []
    with dialect.writing() as connection:
        dialect.inserting(ACTIVITY, COLUMNS).write(connection, many(1, 1))
    assert len(rows(engine, ACTIVITY.c.user_id)) == 1


def test_what_fails_to_be_computed_undoes_what_was_sent(engine: Engine) -> None:
    dialect = Dialect(engine)

    def fail_after_sending() -> None:
        with dialect.writing() as connection, dialect.sending(connection) as way:
            way.send(dialect.inserting(ACTIVITY, COLUMNS).pack(many(1, 3000)))
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail_after_sending()
    assert rows(engine, ACTIVITY.c.user_id) == []


def test_updated_rows_change_in_the_named_columns_only(engine: Engine) -> None:
    dialect = Dialect(engine)
    with dialect.writing() as connection:
        connection.execute(COMPANY.insert().values(id=1, name="acme", enrolled_at=T0))
        users = [{"id": number, "company_id": 1, "name": f"u{number}", "enrolled_at": T0} for number in (1, 2, 3)]
        connection.execute(USER.insert(), users)
        people = [{"user_id": number, "status": "offline", "devices": "[]", "rev": 5} for number in (1, 2, 3)]
        connection.execute(PRESENCE.insert(), people)
    for turn in (1, 2):  # the second finds the temporary table of the first
        with dialect.writing() as connection:
            changed = [(1, 1, T0, "online"), (3, 2, None, "away")]
            dialect.updating(PRESENCE, ("user_id", "rev", "due_at", "status"), adding=("rev",)).write(
                connection, changed
            )
        assert rows(engine, *(PRESENCE.c[name] for name in ("user_id", "rev", "due_at", "status", "devices"))) == [
            (1, 5 + turn, T0, "online", "[]"),
            (2, 5, None, "offline", "[]"),
            (3, 5 + 2 * turn, None, "away", "[]"),
        ]
