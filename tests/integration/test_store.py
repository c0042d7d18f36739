"""The store on both databases: what a batch leaves in the tables, once, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, event

from ingest.decode import Rejected
from ingest.register import MAX_DEVICES
from ingest.store import Store
from models import queries
from models.errors import StoreFailed
from models.events import State
from models.facts import Session
from models.queries import HISTORY, USER
from models.topics import Channel
from tests.integration.store_lab import (
    SESSIONS,
    T0,
    TERMS,
    at,
    beat,
    count,
    dump,
    events,
    full_beat,
    listening_store,
    message,
    offline,
    only,
    opened,
    rfc3339,
    roster,
    say,
    told,
)

S0, S1 = SESSIONS[:2]


def sessions(engine: Engine, user: str = "alice") -> list[Session]:
    with engine.connect() as connection:
        user_id = queries.find_user(connection, "acme", user)
        assert user_id is not None
        return queries.user_sessions(connection, user_id)


def test_a_heartbeat_makes_user_device_session_history_activity_and_event(engine: Engine) -> None:
    store = listening_store(engine)
    written = store.write([full_beat()], at(1))
    assert (written.stored, written.duplicates, written.rejected, written.events) == (1, 0, 0, 2)
    row = only(dump(engine)["history"])
    assert {name: row[name] for name in ("at", "received_at", "message", "kind", "heading", "battery")} == {
        "at": at(-1), "received_at": T0, "message": 4, "kind": 0, "heading": 359.5, "battery": 80.0,
    }  # fmt: skip
    state = roster(engine, at(2))["alice"]
    assert state == {
        "type": "presence:update", "companyId": "acme", "userId": "alice", "rev": 1, "status": "away", "reason": None,
        "since": "2026-11-22T10:00:00.000Z", "lastSeenAt": "2026-11-22T10:00:00.000Z", "lastLatitude": 12.9716,
        "lastLongitude": 77.5946, "lastAccuracy": 5.0, "lastFixAt": "2026-11-22T09:59:59.000Z",
        "currentProjectId": "p1", "currentTaskId": "t9", "statusMessage": None, "statusUpdatedAt": None,
        "devices": [{"device": "tablet-7", "status": "away", "lastSeenAt": "2026-11-22T10:00:00.000Z", "battery": 80}],
    }  # fmt: skip
    assert told(engine) == ["user:online", "activity:changed"]


def test_the_facts_of_a_session_come_back_as_they_were_stored(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([full_beat(), offline(at(3), device="tablet-7", session=S0, reason="signed_off", seq=5)], at(3))
    before = only(sessions(engine))
    assert before.left == at(3)
    assert before.word is not None
    assert before.work is not None
    # Another store knows nothing yet: it loads the session, advances it and writes it back.
    listening_store(engine).write([full_beat(9, seq=6, at=at(8))], at(9))
    after = only(sessions(engine))
    assert after.heard == at(9)
    assert (after.first, after.left, after.left_reason) == (before.first, before.left, before.left_reason)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1999, 8, 22, tzinfo=UTC),
        datetime(2037, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
)
def test_any_time_of_the_calendar_can_be_stored_and_read_back(engine: Engine, moment: datetime) -> None:
    store = listening_store(engine)
    store.write([full_beat(at=moment)], T0)
    assert only(dump(engine)["history"])["at"] == moment
    listening_store(engine).write([full_beat(1, seq=5)], at(1))
    assert roster(engine, at(2))["alice"]["lastFixAt"] == "2026-11-22T10:00:00.000Z"


def test_a_future_time_stays_in_the_history_and_never_becomes_current(engine: Engine) -> None:
    store = listening_store(engine)
    ahead: dict[str, Any] = {
        "session": S0,
        "seq": 2,
        "at": at(86_400),
        "latitude": 50.0,
        "longitude": 50.0,
        "battery": 7,
    }
    store.write([beat(T0, session=S0, seq=1, latitude=1.0, longitude=1.0), beat(at(1), **ahead)], at(1))
    store.write([beat(at(2), session=S0, seq=3, at=at(2), latitude=2.0, longitude=2.0, battery=50)], at(2))
    # A second copy of the message must not take its later receipt for the time of its report.
    store.write([beat(at(3), **ahead)], at(3))
    assert [row["latitude"] for row in dump(engine)["history"]] == [1.0, 2.0, 50.0]
    state = roster(engine, at(4))["alice"]
    assert (state["lastLatitude"], state["devices"][0]["battery"]) == (2.0, 50)


def test_a_user_may_have_only_so_many_devices(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(at(number / 1000), device=f"d{number}") for number in range(MAX_DEVICES - 1)], at(1))
    written = store.write([beat(at(2), device="last"), beat(at(2), device="x"), beat(at(3), device="d0")], at(3))
    assert (written.stored, written.duplicates, written.rejected) == (1, 1, 1)
    assert count(engine, "device") == MAX_DEVICES
    refused = only(dump(engine)["rejected"])
    assert (refused["company"], refused["topic"]) == ("acme", "company/acme/presence/alice")
    assert "devices" in refused["reason"]
    assert bytes(refused["head"]).startswith(b'{"device":')


def test_closed_enrolment_keeps_strangers_out_and_others_in(engine: Engine) -> None:
    listening_store(engine).write([beat(T0, seq=0)], T0)
    store = listening_store(engine, enrol=False)
    written = store.write(
        [beat(at(1)), beat(at(1), "mallory"), say(at(2), "hi", "mallory"), beat(at(3), device="new")], at(3)
    )
    assert (written.stored, written.duplicates, written.rejected) == (2, 0, 2)
    assert [row["name"] for row in dump(engine)["user_account"]] == ["alice"]
    assert all("not enrolled" in row["reason"] for row in dump(engine)["rejected"])


def test_a_refused_status_text_keeps_its_first_bytes(engine: Engine) -> None:
    listening_store(engine, enrol=False).write([say(T0, "let me in", "mallory")], T0)
    refused = only(dump(engine)["rejected"])
    assert bytes(refused["head"]) == b'{"message":"let me in"}'
    assert refused["size"] == 23


def test_hostile_bytes_are_kept_as_refused_on_either_database(engine: Engine) -> None:
    hostile = [
        Rejected("company/a\0b/presence/\ud800", b"\0\xff" * 500, T0, "a reason with \0 and \udfff " + "x" * 500),
        Rejected("t" * 70_000, b"", T0, ""),
        message(Channel.PRESENCE, b'{"device":"\\u0000"}', T0),
    ]  # fmt: skip
    assert listening_store(engine).write(hostile, T0).rejected == 3
    rows = dump(engine)["rejected"]
    assert [row["size"] for row in rows] == [1000, 0, 19]
    assert [len(row["topic"]) for row in rows] == [30, 256, 27]


def test_a_batch_that_fails_leaves_nothing_and_the_next_one_enrols_anew(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = listening_store(engine)
    store.write([beat(T0, "bob", session=S0, seq=1)], T0)
    before = dump(engine)
    with monkeypatch.context() as patched:

        def fail(*_arguments: object) -> None:
            raise StoreFailed("the disk is full")

        patched.setattr("ingest.store.write_rejected", fail)
        with pytest.raises(StoreFailed):
            store.write([beat(at(1), "alice", session=S0), beat(at(1), "bob", session=S0, status="away")], at(1))
    assert dump(engine) == before
    assert store.write([beat(at(2), "alice", session=S0), beat(at(2), "bob", session=S0, seq=3)], at(2)).stored == 2
    states = roster(engine, at(3))
    assert {user: state["status"] for user, state in states.items()} == {"alice": "online", "bob": "online"}
    assert told(engine, "alice") == told(engine, "bob") == ["user:online"]


def test_a_database_that_is_gone_makes_the_batch_fail_and_is_taken_up_again(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(T0, session=S0)], T0)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE history RENAME TO away")
    with pytest.raises(StoreFailed):
        store.write([beat(at(1), session=S0)], at(1))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO history")
    assert store.write([beat(at(2), session=S0, battery=1)], at(2)).stored == 1


def test_what_somebody_else_changed_is_seen_in_the_next_batch(engine: Engine) -> None:
    one, other = listening_store(engine), listening_store(engine)
    one.write([beat(T0, session=S0, seq=1)], T0)
    other.write([offline(at(1), session=S0, reason="signed_off")], at(1))
    one.write([beat(at(2), session=S1, seq=1)], at(2))
    other.write([say(at(3), "back")], at(3))
    one.write([offline(at(4), session=S1, reason="signed_off")], at(4))
    assert told(engine) == ["user:online", "user:offline", "user:online", "status:updated", "user:offline"]
    states = events(engine)
    assert [state["timestamp"] for state in states] == [
        rfc3339(at(second)).replace("Z", ".000Z") for second in range(5)
    ]


def test_sessions_that_were_removed_meanwhile_are_made_again(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(T0, session=S0, seq=1), beat(at(1), session=S1, seq=1)], at(1))
    with engine.begin() as connection:
        connection.execute(delete(HISTORY))
        connection.execute(delete(queries.SESSION).where(queries.SESSION.c.token == S0))
    assert store.write([beat(at(2), session=S0, seq=2), beat(at(3), session=S1, seq=2)], at(3)).stored == 2
    assert [session.id for session in sessions(engine) if session.superseded is None] == [S1]
    assert Store(engine, TERMS).write([], at(4)).stored == 0
    with engine.connect() as connection:
        assert len(connection.execute(USER.select()).all()) == 1


@pytest.mark.parametrize("read", [Store.states, Store.next_states])
def test_a_state_is_of_one_moment_though_a_device_enrols_while_it_is_read(
    engine: Engine, read: Callable[[Store, list[int], datetime], dict[int, State]]
) -> None:
    store = listening_store(engine)
    store.write([beat(T0, device="phone", session=S0, seq=1)], T0)
    enrolled: list[str] = []

    @event.listens_for(engine, "after_cursor_execute")
    def enrol_another_in_between(_connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        if "FROM device " in statement.replace("\n", "") and not enrolled:
            enrolled.append("tablet")
            with opened(engine.url.render_as_string(hide_password=False)) as another:
                Store(another, TERMS).write([beat(at(1), device="tablet", session=S1, seq=1)], at(1))

    def devices() -> list[str]:
        return [device.device for device in read(store, [1], at(2))[1].devices]

    assert devices() == ["phone"]
    assert enrolled == ["tablet"]
    assert devices() == ["phone", "tablet"]
