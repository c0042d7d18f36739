"""Where SQLite and PostgreSQL are spoken to differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ingest.bulk import Bulk, Bulks, PostgresqlBulks, SqliteBulks
from ingest.database import for_writing
from ingest.sending import Sending, sending
from ingest.turnstile import PostgresqlTurnstile, SqliteTurnstile, Turnstile
from models.errors import StoreFailed, StoreRefused

_PATIENCE = "SET LOCAL lock_timeout = '30s'; SET LOCAL idle_in_transaction_session_timeout = '60s'"
"""A writer that hangs must not hold up the others for ever."""
_FLEETING = "SET LOCAL synchronous_commit = off"


class Dialect:
    """One database's way of writing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._for_writing = for_writing(engine)
        self._driver: Any = engine.dialect.dbapi
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._bulks: Bulks = SqliteBulks() if self._is_sqlite else PostgresqlBulks()
        self._made: dict[tuple[str, ...], Bulk] = {}
        self._kept: Connection | None = None
        self._last_ids: dict[str, int] = {}
        # SQLite computes in the thread that asks it to, and there is nobody to wait for.
        self._sender = None if self._is_sqlite else ThreadPoolExecutor(1, thread_name_prefix="sender")
        self.turnstile: Turnstile = SqliteTurnstile() if self._is_sqlite else PostgresqlTurnstile()

    def inserting(self, table: Table, columns: Sequence[str]) -> Bulk:
        """Return what inserts rows of COLUMNS of TABLE."""
        return self._bulk(("insert", table.name, *columns), lambda: self._bulks.inserting(table, columns))

    def updating(self, table: Table, columns: Sequence[str], adding: Sequence[str] = ()) -> Bulk:
        """Return what updates COLUMNS of TABLE, the first of which is the key; values of ADDING are added to what is there."""
        return self._bulk(("update", table.name, *columns), lambda: self._bulks.updating(table, columns, adding))

    def _bulk(self, name: tuple[str, ...], make: Callable[[], Bulk]) -> Bulk:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def insert(self, table: Table) -> Any:  # noqa: ANN401 the two classes share their methods but no base
        """Return an INSERT that knows ON CONFLICT."""
        return sqlite.insert(table) if self._is_sqlite else postgresql.insert(table)

    def new_ids(self, connection: Connection, table: Table, number: int) -> list[int]:
        """Return NUMBER ids for rows that will be inserted into TABLE."""
        if self._is_sqlite:
            inserted = connection.execute(select(func.max(table.c.id))).scalar() or 0
            # Those that were given out before may not be inserted yet.
            last = max(inserted, self._last_ids.get(table.name, 0))
            self._last_ids[table.name] = last + number
            return list(range(last + 1, last + 1 + number))
        each = func.generate_series(1, number).table_valued("number")
        next_id = func.nextval(f"{table.name}_id_seq")
        return list(connection.execute(select(next_id).select_from(each)).scalars())

    def sending(self, connection: Connection) -> AbstractContextManager[Sending]:
        """Send packed rows to CONNECTION until the end of a block; one at a time may."""
        return sending(connection, self._sender)

    @property
    def one_writer(self) -> bool:
        """Whether the database lets one transaction write at a time."""
        return self._is_sqlite

    @contextmanager
    def writing(self, *, lasting: bool = True) -> Iterator[Connection]:
        """Open a transaction that writes, and commit it; raise `StoreFailed` or `StoreRefused` with nothing written.

        With one writer the connection is the caller's alone until then. What is not LASTING may be undone by a crash, and is quicker.
        """
        try:
            with self._writer() as connection, connection.begin():
                if not self._is_sqlite:
                    connection.exec_driver_sql(_PATIENCE if lasting else f"{_PATIENCE}; {_FLEETING}")
                yield connection
        except (DBAPIError, self._driver.Error) as error:
            raise self._meaning(getattr(error, "orig", error)) from error
        except PoolTimeout as error:
            raise StoreFailed(f"the database cannot be written: {_reason(error)}") from error
        except StatementError as error:
            raise StoreRefused(f"the database cannot represent the batch: {error.orig}") from error

    def _meaning(self, error: Exception) -> StoreFailed | StoreRefused:
        """Return what an ERROR of the driver means: that the data is refused, or that now is not the time."""
        if isinstance(error, self._driver.IntegrityError | self._driver.DataError):
            return StoreRefused(f"the database refuses the batch: {_reason(error)}")
        return StoreFailed(f"the database cannot be written: {_reason(error)}")

    @contextmanager
    def _writer(self) -> Iterator[Connection]:
        """Lend the connection that writes; on SQLite it is always the same one, which alone can tell what others commit."""
        connection = self._kept or self._for_writing.connect()
        self._kept = None
        try:
            yield connection
        except BaseException:
            connection.invalidate()  # who knows in what state it is
            connection.close()
            raise
        if self._is_sqlite:
            self._kept = connection
        else:
            connection.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads, all of it of one moment; raise `StoreFailed` when the database is out of reach."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except (DBAPIError, PoolTimeout) as error:
            raise StoreFailed(f"the database cannot be read: {_reason(getattr(error, 'orig', error))}") from error


def _reason(error: BaseException | None) -> str:
    """Return the driver's words in one line; what follows the first tells of rows, and those are for nobody's log."""
    return str(error).partition("\n")[0]
