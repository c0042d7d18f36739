"""The schema on both databases: up, down and up again with data, and the same as the tables declare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, inspect, select, text
from sqlalchemy.dialects.postgresql import OID
from sqlmodel import SQLModel

from ingest.database import REVISION, downgrade, open_engine, schema_revision, upgrade
from models.errors import BadSetting, StoreFailed
from tests.integration.store_lab import SESSIONS, T0, at, beat, dump, listening_store, offline, opened, say, work


def test_a_migrated_database_is_what_the_tables_declare(engine: Engine, empty_engine: Engine) -> None:
    assert schema_revision(engine) == REVISION
    SQLModel.metadata.create_all(empty_engine)
    assert schema(engine) == schema(empty_engine)


@pytest.fixture
def empty_engine(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database without a schema."""
    on_sqlite = database_kind == "sqlite"
    url = (
        f"sqlite:///{tmp_path}/empty.db" if on_sqlite else request.getfixturevalue("postgresql_databases")("template1")
    )
    with opened(url) as engine:
        yield engine


def schema(engine: Engine) -> dict[str, Any]:
    """Return what the database itself says of each table: columns, keys, indexes, references, options and partitions."""
    found = inspect(engine)
    return {
        name: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], _default(column["default"]))
                for column in found.get_columns(name)
            },
            "primary key": found.get_pk_constraint(name)["constrained_columns"],
            "unique": sorted(unique["column_names"] for unique in found.get_unique_constraints(name)),
            "indexes": {
                index["name"]: (index["column_names"], index["unique"], _words(index["dialect_options"]))
                for index in found.get_indexes(name)
            },
            "references": sorted(
                (key["constrained_columns"], key["referred_table"]) for key in found.get_foreign_keys(name)
            ),
            "options": found.get_table_options(name),
            "partitioned": _partitioned(engine, name),
        }
        for name in found.get_table_names()
        if name != "alembic_version"
    }


def _default(said: str | None) -> str | None:
    """Return a column's default, without that of a key that the server counts up."""
    return None if said is None or said.startswith("nextval(") else said


def _words(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items()}


def _partitioned(engine: Engine, name: str) -> str | None:
    if engine.dialect.name == "sqlite":
        return None
    with engine.connect() as connection:
        key: str | None = connection.execute(select(func.pg_get_partkeydef(func.to_regclass(name).cast(OID)))).scalar()
        return key


def test_the_schema_goes_down_and_up_again_with_data_in_it(engine: Engine) -> None:
    def fill() -> None:
        listening_store(engine).write(
            [
                beat(T0, session=SESSIONS[0], seq=1, at=T0, latitude=1.0, longitude=2.0),
                work(at(1), "p1"),
                say(at(2), "On site"),
                offline(at(3), session=SESSIONS[0]),
                beat(at(4), latitude="north"),
            ],
            at(4),
        )

    fill()
    before = dump(engine)
    assert downgrade(engine, "base") == (REVISION, None)
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    assert schema_revision(engine) is None
    assert upgrade(engine) == (None, REVISION)
    fill()
    after = dump(engine)
    assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}
    assert [row["at"] for row in after["history"]] == [row["at"] for row in before["history"]]


def test_upgrading_what_is_up_to_date_changes_nothing(engine: Engine) -> None:
    listening_store(engine).write([beat(T0)], T0)
    before = dump(engine)
    assert upgrade(engine) == (REVISION, REVISION)
    assert dump(engine) == before


def test_sqlite_is_opened_for_safe_and_concurrent_use(tmp_path: Path) -> None:
    path = tmp_path / "new" / "fieldbeat.db"
    with opened(f"sqlite:///{path}") as engine:
        assert schema_revision(engine) is None
        with engine.connect() as connection:
            settings = {
                name: connection.execute(text(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_postgresql_answers_in_utc_whatever_the_server_is_set_to(postgresql_databases: Callable[[str], str]) -> None:
    url = postgresql_databases("migrated")
    with opened(url) as admin, admin.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {admin.url.database} SET timezone = 'Pacific/Kiritimati'"))
    with opened(url) as engine, engine.connect() as connection:
        assert connection.execute(text("SHOW timezone")).scalar() == "UTC"


def test_a_database_that_is_out_of_reach_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "fieldbeat.db").write_bytes(b"this is no database" * 100)
    with opened(f"sqlite:///{tmp_path}/fieldbeat.db") as engine, pytest.raises(StoreFailed, match="not a database"):
        schema_revision(engine)
    nowhere = f"postgresql+psycopg://nobody@/x?host={tmp_path}&port=1"
    with opened(nowhere) as engine, pytest.raises(StoreFailed, match="out of reach"):
        schema_revision(engine)


@pytest.mark.parametrize("url", ["", "no url", "mysql://127.0.0.1/x", "oracle://x", "sqlite"])
def test_another_database_is_refused_by_the_name_of_the_setting(url: str) -> None:
    with pytest.raises(BadSetting, match="FIELDBEAT_DATABASE_URL"):
        open_engine(url)
