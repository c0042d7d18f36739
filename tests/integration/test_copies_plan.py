"""On PostgreSQL the copies of a big batch are found at once, also among messages that came after the statistics were made."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from ingest import history
from ingest.store import Store
from models.queries import SESSION
from tests.integration.store_lab import SESSIONS, at, beat, listening_store

BEFORE, BATCH, BATCHES = 500, 5_000, 3


def _fill(store: Store, session: str, first: int, count: int) -> None:
    said = range(first, first + count)
    store.write([beat(at(seq / 100), session=session, seq=seq) for seq in said], at(first + count))


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_repeats_of_messages_that_are_newer_than_the_statistics_are_found_at_once(engine: Engine) -> None:
    store = listening_store(engine)
    _fill(store, SESSIONS[0], 0, BEFORE)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("ANALYZE history")
    for number in range(BATCHES):
        _fill(store, SESSIONS[1], BEFORE + number * BATCH, BATCH)
    with engine.connect() as connection:
        connection.exec_driver_sql("SET statement_timeout = '2s'")
        session_id = connection.execute(SESSION.select().where(SESSION.c.token == SESSIONS[1])).one().id
        wanted = {(session_id, BEFORE + seq) for seq in range(BATCH)}
        found = history.copies(connection, wanted, at(BEFORE / 100))
    assert set(found) == wanted
