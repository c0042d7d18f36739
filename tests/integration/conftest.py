"""Fresh databases of both kinds: migrated once a run, and copied for each test."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from ingest.database import open_engine, upgrade
from tests.integration.pipe_lab import Pipe
from tests.servers import postgresql

_numbers = itertools.count()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema and no rows."""
    path = tmp_path_factory.mktemp("migrated") / "empty.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgresql_databases() -> Iterator[Callable[[str], str]]:
    """Makes PostgreSQL databases, each a copy of TEMPLATE, and returns the URL; `migrated` has the schema and no rows."""
    with ExitStack() as stack:
        server = stack.enter_context(postgresql(["synchronous_commit = off"]))
        admin = create_engine(server.url(), isolation_level="AUTOCOMMIT")
        stack.callback(admin.dispose)

        def create(template: str, name: str | None = None) -> str:
            name = name or f"test{next(_numbers)}"
            with admin.connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
            return server.url(name)

        engine = open_engine(create("template1", "migrated"))
        upgrade(engine)
        engine.dispose()
        yield create


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def new_database(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes another empty database with the schema, and returns its URL."""

    def on_sqlite() -> str:
        path = tmp_path / f"test{next(_numbers)}.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), path)
        return f"sqlite:///{path}"

    def on_postgresql() -> str:
        made: str = request.getfixturevalue("postgresql_databases")("migrated")
        return made

    return on_sqlite if database_kind == "sqlite" else on_postgresql


@pytest.fixture
def new_engine(new_database: Callable[[], str]) -> Iterator[Callable[[], Engine]]:
    """Opens another empty database with the schema."""
    with ExitStack() as stack:

        def make() -> Engine:
            engine = open_engine(new_database())
            stack.callback(engine.dispose)
            return engine

        yield make


@pytest.fixture
def engine(new_engine: Callable[[], Engine]) -> Engine:
    return new_engine()


@pytest.fixture
def pipe(engine: Engine) -> Pipe:
    return Pipe(engine)
