"""Rows as bytes for PostgreSQL's binary COPY."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, MetaData, Table
from sqlmodel.sql.sqltypes import AutoString

from ingest.binary_copy import BinaryRows
from models.errors import StoreRefused
from models.tables import UtcDateTime

TABLE = Table(
    "t", MetaData(), Column("a", Integer), Column("b", BigInteger), Column("c", Float), Column("d", UtcDateTime),
    Column("e", AutoString), Column("f", LargeBinary),
)  # fmt: skip
HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def packed(*row: Any) -> bytes:  # noqa: ANN401 whatever the columns hold
    data = BinaryRows(list(TABLE.c)).pack([row])
    assert data.startswith(HEADER)
    assert data.endswith(TRAILER)
    return data.removeprefix(HEADER).removesuffix(TRAILER)


def test_a_row_is_its_field_count_and_then_each_length_and_value() -> None:
    at = datetime(2000, 1, 2, 0, 0, 0, 5, tzinfo=UTC)
    assert packed(1, 2, 0.5, at, "ä", b"\0") == struct.pack(
        ">h iiiqidiq i2s ic".replace(" ", ""), 6, 4, 1, 8, 2, 8, 0.5, 8, 86_400_000_005, 2, "ä".encode(), 1, b"\0"
    )


def test_a_null_is_a_length_of_minus_one_wherever_it_is() -> None:
    assert packed(None, None, None, None, None, None) == struct.pack(">h6i", 6, *[-1] * 6)
    assert packed(None, 2, None, None, "x", None) == struct.pack(">hiiqiiici", 6, -1, 8, 2, -1, -1, 1, b"x", -1)


def test_a_time_before_the_year_2000_counts_backwards() -> None:
    assert struct.pack(">q", -1) in packed(
        None, None, None, datetime(1999, 12, 31, 23, 59, 59, 999_999, UTC), None, None
    )


def test_rows_of_different_shapes_follow_each_other() -> None:
    rows = [(1, None, None, None, None, None), (None, 1, None, None, None, None), (2, None, None, None, None, None)]
    together = BinaryRows(list(TABLE.c)).pack(rows)
    assert together == HEADER + b"".join(packed(*row) for row in rows) + TRAILER


def test_rows_keep_their_order_however_many_there_are() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        (
            number,
            None if number % 3 else number,
            number / 2,
            at if number % 2 else None,
            None if number % 5 else "x",
            b"",
        )
        for number in range(2500)
    ]
    assert BinaryRows(list(TABLE.c)).pack(rows) == HEADER + b"".join(packed(*row) for row in rows) + TRAILER


def test_columns_of_the_same_times_and_of_others_are_told_apart() -> None:
    table = Table("t", MetaData(), *(Column(name, UtcDateTime) for name in "abc"))
    first, second = datetime(2000, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC)
    packed = BinaryRows(list(table.c)).pack([(first, first, first), (second, second, first)])
    fields = struct.unpack(">hiqiqiqhiqiqiq", packed.removeprefix(HEADER).removesuffix(TRAILER))
    assert fields[2:7:2] == (0, 0, 0)
    assert fields[9::2] == (1_000_000, 1_000_000, 0)


def test_no_rows_are_a_copy_all_the_same() -> None:
    assert BinaryRows(list(TABLE.c)).pack([]) == HEADER + TRAILER


def test_a_number_that_its_column_cannot_hold_is_refused() -> None:
    with pytest.raises(StoreRefused, match="cannot represent"):
        packed(2**31, None, None, None, None, None)


def test_columns_of_variable_length_must_come_last() -> None:
    with pytest.raises(TypeError, match="fixed length"):
        BinaryRows([TABLE.c.e, TABLE.c.a])
