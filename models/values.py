"""Lists of values as one parameter of a statement, which stays the same whatever their number."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Connection, Select, String, Subquery, cast, func, literal, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

_TYPES: dict[type, type[TypeEngine[Any]]] = {int: BigInteger, str: String}


def integers(connection: Connection, values: Collection[int]) -> Select[tuple[int]]:
    """Return VALUES as something that a column can be `in_`."""
    return select(rows(connection, [(value,) for value in values], int).c.v0)


def rows(connection: Connection, values: Collection[tuple[Any, ...]], *types: type) -> Subquery:
    """Return VALUES as a table to be joined, with columns `v0`, `v1` and so on of TYPES."""
    given = literal(msgspec.json.encode(list(values)).decode(), String)
    if connection.dialect.name == "sqlite":
        each = func.json_each(given).table_valued("value").c.value
        cells: list[ColumnElement[Any]] = [func.json_extract(each, f"$[{place}]") for place in range(len(types))]
    else:
        each = func.json_array_elements(cast(given, postgresql.JSON)).table_valued("value").c.value
        cells = [each.op("->>")(place) for place in range(len(types))]
    typed = [cast(cell, _TYPES[kind]).label(f"v{n}") for n, (cell, kind) in enumerate(zip(cells, types, strict=True))]
    return select(*typed).subquery("given_rows")
