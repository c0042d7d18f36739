"""Engines: how SQLite and PostgreSQL are opened, and how their schema is brought up to date."""

from __future__ import annotations

import importlib.resources
import logging
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from models.errors import BadSetting, StoreFailed

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import URL

REVISION = "0003"
"""The revision of the schema that this version of Fieldbeat works with."""
_IMMEDIATE = "fieldbeat_immediate"

_BUSY_S = 30.0


def open_engine(url: str) -> Engine:
    """Return an engine for URL, `sqlite:///…` or `postgresql+psycopg://…`; raise `BadSetting` for another."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadSetting("FIELDBEAT_DATABASE_URL must be sqlite:///PATH or postgresql+psycopg://…") from None
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(parsed)
        case "postgresql":
            return _postgresql(parsed)
        case other:
            raise BadSetting(f"FIELDBEAT_DATABASE_URL: {other} is not supported; use sqlite or postgresql+psycopg")


def for_writing(engine: Engine) -> Engine:
    """Return ENGINE for transactions that will write; those of ENGINE itself read, all of it of one moment."""
    if engine.dialect.name == "sqlite":  # which takes its one write lock at the start, not half-way
        return engine.execution_options(**{_IMMEDIATE: True})
    # On PostgreSQL each statement sees what others have committed before it, and builds upon that.
    return engine.execution_options(isolation_level="READ COMMITTED")


def _sqlite(url: URL) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: `begin` below does
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-16384",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(_IMMEDIATE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    # It warns of pipelines that broke with their connection; whoever used them gets the error, and tells it once.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    try:
        # In another zone the server would answer with times outside the years 1 to 9999, which Python cannot hold.
        options = {"connect_timeout": 10, "options": "-c timezone=UTC"}
        return create_engine(url, pool_pre_ping=True, connect_args=options, isolation_level="REPEATABLE READ")
    except (ModuleNotFoundError, NoSuchModuleError):
        raise BadSetting("FIELDBEAT_DATABASE_URL: PostgreSQL needs `pip install 'fieldbeat[postgresql]'`") from None


def _alembic(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(importlib.resources.files("models") / "migrations"))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine, revision: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema up to REVISION; return the revisions before and after."""
    return _migrate(engine, "upgrade", revision)


def downgrade(engine: Engine, revision: str) -> tuple[str | None, str | None]:
    """Take the schema back to REVISION; return the revisions before and after."""
    return _migrate(engine, "downgrade", revision)


def _migrate(engine: Engine, move: str, revision: str) -> tuple[str | None, str | None]:
    # Alembic reports its own plug-ins as soon as it is imported.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command

    try:
        with for_writing(engine).begin() as connection:
            before = current_revision(connection)
            getattr(command, move)(_alembic(connection), revision)
            return before, current_revision(connection)
    except DBAPIError as error:
        raise StoreFailed(f"the database cannot be migrated: {error.orig}") from None


def schema_revision(engine: Engine) -> str | None:
    """Return the revision of the database's schema, None for an empty database; raise `StoreFailed` when it is out of reach."""
    try:
        with engine.connect() as connection:
            return current_revision(connection)
    except DBAPIError as error:
        raise StoreFailed(f"the database is out of reach: {error.orig}") from None


def current_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
