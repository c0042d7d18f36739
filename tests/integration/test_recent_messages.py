"""The messages that were received last, whatever the devices' clocks say."""

from __future__ import annotations

from sqlalchemy import Engine

from models import queries
from tests.integration.store_lab import SESSIONS, at, beat, listening_store, offline


def received(engine: Engine, limit: int) -> list[float]:
    """Return when alice's last messages were received, in seconds after the start."""
    with engine.connect() as connection:
        user_id = queries.find_user(connection, "acme", "alice")
        assert user_id is not None
        rows = queries.recent_messages(connection, user_id, limit)
    return [(row["received_at"] - at(0)).total_seconds() for row in rows]


def test_a_device_whose_clock_is_years_behind_is_not_late(engine: Engine) -> None:
    store = listening_store(engine)
    old = at(-5 * 365 * 86_400)
    for second in range(30):
        store.write([beat(at(second), device="van", session=SESSIONS[0], seq=second, at=at(second))], at(second))
    behind = [beat(at(40 + n), device="watch", session=SESSIONS[1], seq=n, at=old) for n in range(3)]
    store.write([*behind, offline(at(50), device="watch", session=SESSIONS[1])], at(50))
    assert received(engine, 6) == [50, 42, 41, 40, 29, 28]


def test_what_a_lease_hangs_on_is_among_them_also_without_seq(engine: Engine) -> None:
    store = listening_store(engine)
    for second in range(20):
        store.write([beat(at(second), device="van", session=SESSIONS[0], at=at(second))], at(second))
    store.write([beat(at(30), device="watch", at=at(-9e6)), beat(at(31), device="watch", at=at(-9e6 + 1))], at(31))
    assert received(engine, 3) == [31, 19, 18]
