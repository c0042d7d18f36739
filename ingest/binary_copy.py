"""Rows as PostgreSQL's binary COPY takes them [PostgreSQL 15, COPY, binary format]; pure.

A row is a field count, then for each field its length, -1 for NULL, and its bytes in network order. Rows with NULLs in the same fields
differ in their values alone, and are made together: as many copies of one blank row, into which the values go column by column.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from operator import is_
from types import NoneType
from typing import Any

from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, String, TypeDecorator

from models.errors import StoreRefused
from models.tables import UtcDateTime

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_FIELDS = struct.Struct(">h")
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)
_TOGETHER = 1000
"""How many rows are made at once: not more than stay in a processor's caches."""
_YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC)
"""The zero of a timestamptz, which counts microseconds."""
_DAY_S = 86_400

Values = Sequence[Any]
"""The values of a column, or of a row."""


def _code(column: Column[Any]) -> str:
    """Return how `struct` writes a value of COLUMN; nothing for what has no fixed length."""
    kind = column.type
    if isinstance(kind, UtcDateTime):
        return "q"
    if isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    if isinstance(kind, BigInteger):
        return "q"
    if isinstance(kind, Integer):
        return "i"
    if isinstance(kind, Float):
        return "d"
    if isinstance(kind, String | LargeBinary):
        return ""
    raise TypeError(f"{column} has no binary form here")


class BinaryRows:
    """Packs rows of COLUMNS, of which those of fixed length come first."""

    def __init__(self, columns: Sequence[Column[Any]]) -> None:
        codes = [_code(column) for column in columns]
        self._codes = [code for code in codes if code]
        if codes[: len(self._codes)] != self._codes:
            raise TypeError("columns of fixed length come first")
        self._fields = len(columns)
        self._times = {place for place, column in enumerate(columns) if isinstance(column.type, UtcDateTime)}

    def pack(self, rows: Iterable[Values]) -> bytes:
        """Return the whole COPY that inserts ROWS; raise `StoreRefused` for a number that its column cannot hold."""
        given, packed = list(rows), [_HEADER]
        try:
            for start in range(0, len(given), _TOGETHER):
                packed += self._packed(given[start : start + _TOGETHER])
        except struct.error as error:
            raise StoreRefused(f"the database cannot represent the batch: {error}") from None
        packed.append(_TRAILER)
        return b"".join(packed)

    def _packed(self, rows: Sequence[Values]) -> list[bytes]:
        """Return ROWS in their order."""
        columns, fixed = list(zip(*rows, strict=True)), len(self._codes)
        mixed = [column for column in columns[:fixed] if len(kinds := set(map(type, column))) > 1 and NoneType in kinds]
        if not mixed and fixed == self._fields:
            return [self._block(columns)]
        shapes = list(zip(*([value is None for value in column] for column in mixed), strict=True)) or [()] * len(rows)
        alike = defaultdict(list)
        for row, shape in zip(rows, shapes, strict=True):
            alike[shape].append(row[:fixed])
        heads = {
            shape: iter(_cut(self._block(list(zip(*same, strict=True))), len(same))) for shape, same in alike.items()
        }
        texts = [b"".join(map(_variable, row[fixed:])) for row in rows]
        return [next(heads[shape]) + text for shape, text in zip(shapes, texts, strict=True)]

    def _block(self, columns: Sequence[Values]) -> bytes:
        """Return the fields of fixed length of rows that have their values in COLUMNS, each of which is NULL in all rows or in none."""
        row, given = bytearray(_FIELDS.pack(self._fields)), []
        for place, (column, code) in enumerate(zip(columns, self._codes, strict=True)):
            if column[0] is None:
                row += _NULL
                continue
            width = struct.calcsize(f">{code}")
            row += _LENGTH.pack(width)
            given.append((place, len(row), width))
            row += bytes(width)
        size, count = len(row), len(columns[0])
        row *= count
        times: list[tuple[Values, bytes]] = []
        for place, start, width in given:
            column, code = columns[place], self._codes[place]
            packed = _times(column, times) if place in self._times else struct.pack(f">{count}{code}", *column)
            for byte in range(width):
                row[start + byte :: size] = packed[byte::width]
        return bytes(row)


def _times(column: Values, packed: list[tuple[Values, bytes]]) -> bytes:
    """Return the times in COLUMN as the database counts them, and add them to those that are PACKED already.

    Most columns repeat another one: all that one message told has one time.
    """
    for other, same in packed:
        if all(map(is_, column, other)):
            return same
    since = [time - _YEAR_2000 for time in column]
    counted = [(each.days * _DAY_S + each.seconds) * 1_000_000 + each.microseconds for each in since]
    packed.append((column, struct.pack(f">{len(column)}q", *counted)))
    return packed[-1][1]


def _cut(block: bytes, count: int) -> list[bytes]:
    """Return BLOCK in COUNT pieces of one length."""
    size = len(block) // count
    return [block[start : start + size] for start in range(0, len(block), size)]


def _variable(value: str | bytes | None) -> bytes:
    """Return a field of variable length: its length, and its bytes."""
    if value is None:
        return _NULL
    data = value.encode() if isinstance(value, str) else value
    return _LENGTH.pack(len(data)) + data
