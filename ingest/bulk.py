"""Many rows at once: by executemany on SQLite, by binary COPY on PostgreSQL.

SQLAlchemy's own way spends three times as long on the parameters of a heartbeat as SQLite does on storing it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Column, Connection, Table

from ingest.binary_copy import BinaryRows
from models.tables import UtcDateTime, microseconds

Row = Sequence[Any]
"""The values of a row, in the order of the writer's columns."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows as a database takes them: nothing is left to compute."""

    send: Callable[[Connection], None]
    """Writes the rows in the open transaction of a connection."""


class Bulk(ABC):
    """Writes rows of the same columns of one table; columns of text and bytes come after all others."""

    @abstractmethod
    def pack(self, rows: Iterable[Row]) -> Packed:
        """Return ROWS ready to be sent."""

    def write(self, connection: Connection, rows: Iterable[Row]) -> None:
        """Write ROWS in the open transaction of CONNECTION."""
        self.pack(rows).send(connection)


class Bulks(Protocol):
    """One database's writers."""

    def inserting(self, table: Table, columns: Sequence[str]) -> Bulk:
        """Return what inserts rows of COLUMNS of TABLE."""

    def updating(self, table: Table, columns: Sequence[str], adding: Sequence[str] = ()) -> Bulk:
        """Return what updates COLUMNS of TABLE, the first of which is the key; the values of ADDING are added to what is there."""


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _assignments(columns: Sequence[str], adding: Sequence[str], given: Callable[[str], str], table: str) -> str:
    """Return the SET clause of an update; GIVEN says how the new value of a column is written."""
    return ", ".join(
        f'"{name}" = "{table}"."{name}" + {given(name)}' if name in adding else f'"{name}" = {given(name)}'
        for name in columns
    )


class SqliteBulks:
    """By executemany."""

    def inserting(self, table: Table, columns: Sequence[str]) -> Bulk:
        names, marks = ", ".join(_quoted(columns)), ", ".join("?" * len(columns))
        sql = f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})'  # noqa: S608 our own names
        return _Many(sql, _columns(table, columns))

    def updating(self, table: Table, columns: Sequence[str], adding: Sequence[str] = ()) -> Bulk:
        # The key comes first among the values and last in the statement.
        places = {name: f"?{place}" for place, name in enumerate(columns, 1)}
        key, *changed = columns
        values = _assignments(changed, adding, places.__getitem__, table.name)
        sql = f'UPDATE "{table.name}" SET {values} WHERE "{key}" = ?1'  # noqa: S608 our own names
        return _Many(sql, _columns(table, columns))


class _Many(Bulk):
    def __init__(self, sql: str, columns: list[Column[Any]]) -> None:
        self._sql = sql
        self._times = [place for place, column in enumerate(columns) if isinstance(column.type, UtcDateTime)]

    def pack(self, rows: Iterable[Row]) -> Packed:
        return Packed(partial(self._send, [self._prepared(row) for row in rows]))

    def _send(self, rows: list[tuple[Any, ...]], connection: Connection) -> None:
        if rows:
            connection.exec_driver_sql(self._sql, rows)

    def _prepared(self, row: Row) -> tuple[Any, ...]:
        values = list(row)
        for place in self._times:
            if (time := values[place]) is not None:
                values[place] = microseconds(time)
        return tuple(values)


class PostgresqlBulks:
    """By COPY: straight into the table, or, for updates, by way of a temporary one."""

    def inserting(self, table: Table, columns: Sequence[str]) -> Bulk:
        return _Copy(table.name, _columns(table, columns))

    def updating(self, table: Table, columns: Sequence[str], adding: Sequence[str] = ()) -> Bulk:
        return _Merge(table, columns, adding)


class _Copy(Bulk):
    def __init__(self, target: str, columns: list[Column[Any]]) -> None:
        self._rows = BinaryRows(columns)
        names = ", ".join(_quoted(column.name for column in columns))
        self._sql = f'COPY "{target}" ({names}) FROM STDIN (FORMAT binary)'

    def pack(self, rows: Iterable[Row]) -> Packed:
        return Packed(partial(self._send, self._rows.pack(rows)))

    def _send(self, data: bytes, connection: Connection) -> None:
        with _cursor(connection) as cursor, cursor.copy(self._sql) as copy:
            copy.write(data)


class _Merge(Bulk):
    def __init__(self, table: Table, columns: Sequence[str], adding: Sequence[str]) -> None:
        key, *changed = columns
        stage = f"stage_{table.name}_{len(columns)}"  # one for each set of columns
        self._copy = _Copy(stage, _columns(table, columns))
        kept = ", ".join(_quoted(columns))
        like = f'SELECT {kept} FROM "{table.name}"'  # noqa: S608 our own names
        self._stage = f'CREATE TEMPORARY TABLE IF NOT EXISTS "{stage}" ON COMMIT DELETE ROWS AS {like} WITH NO DATA'
        values = _assignments(changed, adding, lambda name: f'"{stage}"."{name}"', table.name)
        matching = f'"{table.name}"."{key}" = "{stage}"."{key}"'
        self._merge = f'UPDATE "{table.name}" SET {values} FROM "{stage}" WHERE {matching}'  # noqa: S608 our own names

    def pack(self, rows: Iterable[Row]) -> Packed:
        return Packed(partial(self._send, self._copy.pack(rows)))

    def _send(self, staged: Packed, connection: Connection) -> None:
        # The table lives as long as the driver's connection, and so does this dictionary. One that failed is not used again.
        if self._stage not in connection.info:
            connection.exec_driver_sql(self._stage)
            connection.info[self._stage] = True
        staged.send(connection)
        connection.exec_driver_sql(self._merge)


def _cursor(connection: Connection) -> Any:  # noqa: ANN401 the driver's, which is not always installed
    return connection.connection.cursor()


def _columns(table: Table, names: Sequence[str]) -> list[Column[Any]]:
    return [table.c[name] for name in names]
