"""Rows as PostgreSQL's binary COPY takes them [PostgreSQL 15, COPY, binary format]; pure.

A row is a field count, then for each field its length, -1 for NULL, and its bytes in network order. Which fields of a table are NULL
recurs from row to row: for each such shape everything but the values is worked out once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import compress
from types import NoneType
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, String, TypeDecorator

from models.errors import StoreRefused
from models.tables import UtcDateTime

_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER = struct.pack(">h", -1)
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)
_YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC)
"""The zero of a timestamptz, which counts microseconds."""
_DAY_S = 86_400


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
        self._fixed = len(self._codes)
        if codes[: self._fixed] != self._codes:
            raise TypeError("columns of fixed length come first")
        self._fields = len(columns)
        self._times = [place for place, column in enumerate(columns) if isinstance(column.type, UtcDateTime)]
        self._shapes: dict[tuple[type, ...], _Shape] = {}

    def pack(self, rows: Iterable[Sequence[Any]]) -> bytes:
        """Return the whole COPY that inserts ROWS; raise `StoreRefused` for a number that its column cannot hold."""
        packed = [_HEADER]
        add, fixed, times, shapes = packed.append, self._fixed, self._times, self._shapes
        last, stamp = _YEAR_2000, 0
        try:
            for row in rows:
                values = list(row[:fixed])
                for place in times:
                    if (time := values[place]) is not None:
                        if time is not last:  # as it often is: all that one message told has one time
                            since, last = time - _YEAR_2000, time
                            stamp = (since.days * _DAY_S + since.seconds) * 1_000_000 + since.microseconds
                        values[place] = stamp
                types = tuple(map(type, values))
                shape = shapes.get(types)
                if shape is None:
                    shape = shapes[types] = _shape(self._fields, self._codes, types)
                parts = shape.constants.copy()
                parts[1::2] = compress(values, shape.given)
                add(shape.pack(*parts))
                for value in row[fixed:]:
                    add(_variable(value))
        except struct.error as error:
            raise StoreRefused(f"the database cannot represent the batch: {error}") from None
        add(_TRAILER)
        return b"".join(packed)


def _variable(value: str | bytes | None) -> bytes:
    """Return a field of variable length: its length, and its bytes."""
    if value is None:
        return _NULL
    data = value.encode() if isinstance(value, str) else value
    return _LENGTH.pack(len(data)) + data


class _Shape(NamedTuple):
    """The fixed part of a row of which the NULLs are known: constant bytes at even places, between them the values that are GIVEN."""

    constants: list[Any]
    given: list[bool]
    pack: Callable[..., bytes]


def _shape(fields: int, codes: Sequence[str], types: Sequence[type]) -> _Shape:
    constants, form = [struct.pack(">h", fields)], ""
    given = [kind is not NoneType for kind in types]
    for code, is_given in zip(codes, given, strict=True):
        if not is_given:
            constants[-1] += _NULL
        else:
            constants[-1] += _LENGTH.pack(struct.calcsize(f">{code}"))
            form += f"{len(constants[-1])}s{code}"
            constants.append(b"")
    interleaved = [part for constant in constants for part in (constant, None)][:-1]
    return _Shape(interleaved, given, struct.Struct(f">{form}{len(constants[-1])}s").pack)
