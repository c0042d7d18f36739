"""Leases in the store, on both databases: sweeps, deafness, supersession, revocation, and whose turn a job is."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import Engine, select

from broker.access import Claims, Role
from broker.tokens import Revocations
from ingest.dialect import Dialect
from ingest.store import Store, Swept
from ingest.sweep import SLICE, sweep
from models import queries
from models.queries import EVENT
from tests.integration.store_lab import (
    SESSIONS,
    T0,
    TERMS,
    at,
    beat,
    count,
    events,
    listening_store,
    offline,
    only,
    roster,
    say,
    told,
)

STALE = TERMS.stale_after.total_seconds()
GRACE = TERMS.offline_grace.total_seconds()
S0, S1, S2 = SESSIONS[:3]


def notices(engine: Engine) -> list[dict[str, object]]:
    """Return what was said on the presence channel."""
    with engine.connect() as connection:
        rows = connection.execute(select(EVENT.c.payload).where(EVENT.c.channel == "presence").order_by(EVENT.c.id))
        return [msgspec.json.decode(payload) for payload in rows.scalars()]


def last_event(engine: Engine, user: str = "alice") -> dict[str, object]:
    event = events(engine, user)[-1]
    return {name: event[name] for name in ("type", "reason", "timestamp") if name in event}


def test_the_sweep_finds_silence_at_the_boundary_and_announces_it_once(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(T0, session=S0, device="phone"), beat(at(1), "bob", session=S0)], at(1))
    assert sweep(store, at(STALE) - timedelta(microseconds=1)) == Swept(0, 0)
    assert sweep(store, at(STALE), dry_run=True) == Swept(1, 2)
    assert sweep(store, at(STALE)) == Swept(1, 2)
    assert last_event(engine) == {
        "type": "user:offline", "reason": "stale_session", "timestamp": "2026-11-22T10:15:00.000Z",
    }  # fmt: skip
    notice = only(notices(engine))
    assert len(str(notice.pop("eventId"))) == 36
    assert notice == {
        "type": "offline", "device": "phone", "session": S0, "reason": "stale_session", "source": "fieldbeat",
        "at": "2026-11-22T10:15:00.000Z",
    }  # fmt: skip
    assert sweep(store, at(STALE)) == sweep(listening_store(engine), at(STALE)) == Swept(0, 0)
    assert told(engine, "bob") == ["user:online"]


def test_a_dry_run_changes_nothing(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(T0, session=S0)], T0)
    assert sweep(store, at(STALE), dry_run=True).users == 1
    assert sweep(store, at(STALE), dry_run=True).users == 1
    assert told(engine) == ["user:online"]
    assert sweep(store, at(STALE)).users == 1


def test_a_sweep_of_many_goes_in_slices_and_finds_all(engine: Engine) -> None:
    store = listening_store(engine)
    users = 2 * SLICE + 1
    store.write([beat(at(number / 1e6), f"u{number}", session=S0) for number in range(users)], at(1))
    assert sweep(store, at(STALE + 1)) == Swept(users, 2 * users)
    assert all(state["reason"] == "stale_session" for state in roster(engine, at(STALE + 1)).values())


def test_a_will_waits_for_the_grace_and_reconnecting_within_it_announces_nothing(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(T0, session=S0), offline(at(5), session=S0), beat(at(6), session=S1)], at(6))
    sweep(store, at(5 + GRACE))
    assert told(engine) == ["user:online"]
    store.write([offline(at(60), session=S1)], at(60))
    assert sweep(store, at(60 + GRACE)).users == 1
    assert last_event(engine) == {
        "type": "user:offline", "reason": "connection_lost", "timestamp": "2026-11-22T10:01:10.000Z",
    }  # fmt: skip


def test_a_status_text_runs_out_by_the_sweep(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([say(T0, "On site until five", until=at(60))], T0)
    assert roster(engine, at(60))["alice"]["statusMessage"] is None
    assert sweep(store, at(60)) == Swept(1, 1)
    assert [event["statusMessage"] for event in events(engine)] == ["On site until five", None]


def test_silence_while_nobody_listened_does_not_count(engine: Engine) -> None:
    store = Store(engine, TERMS, listening_gap_s=10)
    store.listen(T0)
    store.write([beat(T0, session=S0)], T0)
    store.listen(at(5))
    back = 5 + 3 * STALE
    store.listen(at(back))
    assert sweep(store, at(back)).events == 0
    assert roster(engine, at(back))["alice"]["status"] == "online"
    for second in range(0, int(STALE) + 10, 10):
        store.listen(at(back + second))
    assert sweep(store, at(back + STALE - 1)).events == 0
    assert sweep(store, at(back + STALE)).events == 2


def test_a_short_break_is_no_deafness(engine: Engine) -> None:
    store = Store(engine, TERMS, listening_gap_s=10)
    for second in range(0, 100, 10):
        store.listen(at(second))
    store.listen(at(45))  # a worker whose clock is behind
    with engine.connect() as connection:
        assert queries.listening_since(connection, at(95), 10) == T0
        assert queries.last_listened(connection) == at(90)
        assert queries.listening_since(connection, at(101), 10) == at(101)


def test_a_newer_session_supersedes_and_a_late_will_of_the_old_one_moves_nothing(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(T0, session=S0), beat(at(5), session=S1), offline(at(6), session=S0)], at(6))
    sweep(store, at(100))
    assert told(engine) == ["user:online"]
    store.write([offline(at(101), session=S1, reason="signed_off")], at(101))
    assert last_event(engine)["reason"] == "signed_off"


def test_sessions_that_arrive_in_the_wrong_order_settle_by_their_ids(engine: Engine) -> None:
    store = listening_store(engine)
    for number, session in enumerate((S2, S0, S1)):
        store.write([beat(at(number), session=session, seq=number, battery=number)], at(number))
    with Dialect(engine).reading() as connection:
        found = {session.id: session.superseded for session in queries.user_sessions(connection, 1)}
    assert found[S2] is None
    assert found[S0] is not None
    assert found[S1] is not None
    listening_store(engine).write([offline(at(5), session=S2, reason="signed_off")], at(5))
    assert roster(engine, at(6))["alice"]["status"] == "offline"


def test_a_superseded_session_that_is_not_in_memory_still_takes_its_late_messages(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(T0, session=S0, seq=1), beat(at(1), session=S1, seq=1)], at(1))
    store.write([beat(at(2), session=S1, seq=2)], at(2))
    written = store.write([beat(at(3), session=S0, seq=2, at=at(0.5), latitude=5.0, longitude=5.0)], at(3))
    assert written.stored == 1
    state = roster(engine, at(4))["alice"]
    assert (state["lastLatitude"], state["status"]) == (5.0, "online")
    assert count(engine, "device_session") == 2


def test_two_devices_hold_the_user_until_both_are_gone(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(T0, device="phone", session=S0), beat(at(1), device="tablet", session=S1)], at(1))
    store.write([offline(at(2), device="phone", session=S0, reason="signed_off")], at(2))
    assert told(engine) == ["user:online"]
    store.write([offline(at(3))], at(3))
    assert sweep(store, at(3 + GRACE)).users == 1
    assert last_event(engine)["reason"] == "connection_lost"


def test_revoking_a_user_ends_all_leases_at_once_and_all_tokens_up_to_now(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(T0, device="phone", session=S0), beat(T0, device="tablet", session=S1)], T0)
    store.revoke_user("acme", "alice", at(5))
    assert last_event(engine) == {
        "type": "user:offline", "reason": "token_revoked", "timestamp": "2026-11-22T10:00:05.000Z",
    }  # fmt: skip
    store.revoke_user("acme", "nobody", at(6))
    with engine.connect() as connection:
        revoked = Revocations(*queries.revocations(connection))
    assert revoked.cover(Claims("acme", "alice", Role.DEVICE, at(99), issued_at=at(4)))
    assert not revoked.cover(Claims("acme", "alice", Role.DEVICE, at(99), issued_at=at(6)))
    store.write([beat(at(7), session=S0, device="phone", seq=9)], at(7))
    assert roster(engine, at(8))["alice"]["status"] == "offline"
    store.write([beat(at(9), session=S2, device="phone")], at(9))
    assert roster(engine, at(10))["alice"]["status"] == "online"


def test_revoking_a_token_ends_the_lease_of_the_device_it_names(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(T0, device="phone", session=S0), beat(T0, device="tablet", session=S1)], T0)
    store.revoke_token("t1", "acme", "alice", "phone", at(5))
    store.revoke_token("t1", "acme", "alice", None, at(6))
    states = roster(engine, at(6))["alice"]
    assert {state["device"]: state["status"] for state in states["devices"]} == {"phone": "offline", "tablet": "online"}
    with engine.connect() as connection:
        assert queries.revocations(connection)[0] == frozenset({"t1"})


@pytest.mark.parametrize("gap", [0, 30])
def test_a_job_is_one_holders_turn_until_it_ends(engine: Engine, gap: int) -> None:
    one, other = Store(engine, TERMS), Store(engine, TERMS)
    assert one.take_turn("sweep", "one", T0, 30)
    assert one.take_turn("sweep", "one", at(gap / 2), 30 - gap / 2)
    assert not other.take_turn("sweep", "other", at(29), 30)
    assert other.take_turn("prune", "other", at(29), 30)
    if gap:
        assert other.take_turn("sweep", "other", at(gap), 30)
    else:
        one.end_turns("one")
        assert other.take_turn("sweep", "other", at(1), 30)
    assert not one.take_turn("sweep", "one", at(gap + 1), 30)
