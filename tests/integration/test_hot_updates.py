"""On PostgreSQL an everyday heartbeat changes no index of the tables that hold the present state."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.integration.store_lab import SESSIONS, at, beat, listening_store

USERS, RENEWALS = 40, 25


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_renewing_a_lease_touches_no_index(engine: Engine) -> None:
    store = listening_store(engine)
    for turn in range(1 + RENEWALS):
        now = at(turn * 60)
        said: dict[str, Any] = {
            "session": SESSIONS[0],
            "seq": turn,
            "at": now,
            "latitude": 12.9 + turn / 1000,
            "longitude": 77.6,
            "battery": 80,
        }
        store.write([beat(now, f"u{user}", **said) for user in range(USERS)], now)
    engine.dispose()  # a connection that ends tells what it did
    counted = text(
        "SELECT relname, n_tup_upd, n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname IN ('device_session', 'presence')"
    )
    with engine.connect() as connection:
        updates = {name: (changed, cold) for name, changed, cold in connection.execute(counted)}
    changed, cold = updates["device_session"]
    assert changed >= USERS * RENEWALS
    assert cold <= changed // 10  # at first, until the pages are as full as they may be
    assert (
        updates["presence"][1] <= 2 * USERS
    )  # when they came online, and when it was first looked whether they still are
