"""Where SQLite and PostgreSQL are spoken to differently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from ingest.database import WRITING
from models.errors import StoreFailed, StoreRefused
from models.tables import UtcDateTime, microseconds


class Bulk:
    """A statement for many rows at once: compiled once, its rows handed to the driver as they are.

    SQLAlchemy's own way spends three times as long on the parameters of a heartbeat as SQLite does on storing it.
    """

    def __init__(self, statement: Any, engine: Engine) -> None:  # noqa: ANN401 any executable statement with named parameters
        make: Any = type(engine.dialect)
        dialect = engine.dialect if engine.dialect.positional else make(paramstyle="format")
        compiled = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        names = compiled.positiontup
        self._values = itemgetter(*names)
        types = [compiled.binds[name].type for name in names]
        on_sqlite = engine.dialect.name == "sqlite"
        self._times = [place for place, kind in enumerate(types) if on_sqlite and isinstance(kind, UtcDateTime)]

    def execute(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> int:
        """Execute the statement for ROWS; return how many rows it changed."""
        return connection.exec_driver_sql(self._sql, [self._parameters(row) for row in rows]).rowcount

    def _parameters(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        values = list(self._values(row))
        for place in self._times:
            values[place] = microseconds(values[place])
        return tuple(values)


class Dialect:
    """One database's way of writing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._bulks: dict[str, Bulk] = {}
        self._kept: Connection | None = None
        self._version: int | None = None

    def bulk(self, name: str, make: Callable[[], Any]) -> Bulk:
        """Return the bulk statement NAME, made by MAKE when it is first asked for."""
        if name not in self._bulks:
            self._bulks[name] = Bulk(make(), self._engine)
        return self._bulks[name]

    def insert(self, table: Table) -> Any:  # noqa: ANN401 the two classes share their methods but no base
        """Return an INSERT that knows ON CONFLICT."""
        return sqlite.insert(table) if self._is_sqlite else postgresql.insert(table)

    @property
    def locks_rows(self) -> bool:
        return not self._is_sqlite

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes, and commit it; raise `StoreFailed` or `StoreRefused` with nothing written.

        One at a time: the writing connection is the caller's alone until then.
        """
        try:
            with self._writer() as connection, connection.begin():
                yield connection
        except (IntegrityError, DataError) as error:
            raise StoreRefused(f"the database refuses the batch: {error.orig}") from error
        except DBAPIError as error:
            raise StoreFailed(f"the database cannot be written: {error.orig}") from error
        except StatementError as error:
            raise StoreRefused(f"the database cannot represent the batch: {error.orig}") from error

    @contextmanager
    def _writer(self) -> Iterator[Connection]:
        """Lend the connection that writes; on SQLite it is always the same one, so that `changed_by_others` can tell."""
        connection = self._kept or self._engine.connect().execution_options(**{WRITING: True})
        self._kept = None
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if self._is_sqlite:
            self._kept = connection
        else:
            connection.close()

    def changed_by_others(self, connection: Connection) -> bool:
        """Whether anybody else may have written since this was last asked, in an open transaction that writes."""
        if not self._is_sqlite:
            return True
        version = connection.exec_driver_sql("PRAGMA data_version").scalar()
        changed, self._version = version != self._version, version
        return changed

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads; raise `StoreFailed` when the database is out of reach."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise StoreFailed(f"the database cannot be read: {error.orig}") from error
