"""The store on both databases: what a batch leaves in the tables, once, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, delete

from ingest.decode import Rejected
from ingest.register import MAX_DEVICES
from ingest.store import Store
from models import queries
from models.errors import StoreFailed
from models.facts import Session
from models.queries import HISTORY, USER
from models.topics import Channel
from tests.integration.store_lab import (
    SESSIONS,
    T0,
    TERMS,
    NewEngine,
    at,
    beat,
    count,
    dump,
    events,
    listening_store,
    message,
    offline,
    only,
    rfc3339,
    roster,
    say,
    told,
    work,
)

S0, S1 = SESSIONS[:2]


def sessions(engine: Engine, user: str = "alice") -> list[Session]:
    with engine.connect() as connection:
        user_id = queries.find_user(connection, "acme", user)
        assert user_id is not None
        return queries.user_sessions(connection, user_id)


def full_beat(second: float = 0, **fields: object) -> object:
    said = {
        "device": "tablet-7", "session": S0, "seq": 4, "at": at(second - 1), "latitude": 12.9716, "longitude": 77.5946,
        "accuracy": 5.0, "altitude": 920.5, "speed": 1.5, "heading": 359.5, "battery": 80, "projectId": "p1",
        "taskId": "t9", "status": "away",
    }  # fmt: skip
    return beat(at(second), **{**said, **fields})


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


@pytest.mark.parametrize("moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(1999, 8, 22, tzinfo=UTC), datetime(2037, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)])  # fmt: skip
def test_any_time_of_the_calendar_can_be_stored_and_read_back(engine: Engine, moment: datetime) -> None:
    store = listening_store(engine)
    store.write([full_beat(at=moment)], T0)
    assert only(dump(engine)["history"])["at"] == moment
    listening_store(engine).write([full_beat(1, seq=5)], at(1))
    assert roster(engine, at(2))["alice"]["lastFixAt"] == "2026-11-22T10:00:00.000Z"


def test_the_same_batch_twice_leaves_the_same_tables_and_announces_nothing_more(engine: Engine) -> None:
    batch = [
        full_beat(), full_beat(5, seq=5), beat(at(6), session=S1, latitude=1.5, longitude=2.5, device="phone"),
        say(at(7), "On site"), work(at(8), "p2"), work(at(9), None, at=at(8.5)),
        offline(at(10), device="tablet-7", session=S0), beat(at(11), latitude=1.0, longitude=2.0),
        offline(at(12)), beat(at(13), "bob", session=S0, seq=0),
    ]  # fmt: skip
    store = listening_store(engine)
    first = store.write(batch, at(20))
    before = dump(engine)
    assert first.stored == 7
    again = store.write(batch, at(21))
    assert (again.stored, again.events) == (0, 0)
    assert dump(engine) == before
    other = listening_store(engine).write(batch, at(22))
    assert (other.stored, other.events) == (0, 0)
    assert dump(engine) == before


def test_a_batch_that_comes_again_after_a_crash_adds_nothing_but_signs_of_life(new_engine: NewEngine) -> None:
    def batch(later: float) -> list[object]:
        return [
            beat(at(later), session=S0, seq=1, latitude=1.0, longitude=1.0, battery=50, projectId="p1"),
            beat(at(later + 0.1), session=S0, latitude=2.0, longitude=2.0, projectId="p2"),
            beat(at(later + 0.2), latitude=3.0, longitude=3.0),
            say(at(later + 0.3), "Back at five"),
            offline(at(later + 0.4), session=S0),
        ]  # fmt: skip

    once, twice = new_engine(), new_engine()
    listening_store(once).write(batch(0), at(1))
    listening_store(twice).write(batch(0), at(1))
    again = listening_store(twice).write(batch(5), at(6))
    assert (again.stored, again.events) == (0, 0)
    for table in ("history", "activity_log", "status_log"):
        assert dump(twice)[table] == dump(once)[table]
    state, expected = roster(twice, at(7))["alice"], roster(once, at(7))["alice"]
    for name in ("lastFixAt", "lastLatitude", "currentProjectId", "status", "since"):
        assert state[name] == expected[name]


def test_two_contents_under_one_seq_leave_the_same_row_in_either_order(new_engine: NewEngine) -> None:
    contents = [
        {"at": at(-5), "latitude": 1.0, "longitude": 2.0, "battery": 10},
        {"at": at(-5), "latitude": 1.0, "longitude": 2.0, "battery": 20},
        {"at": at(-4), "latitude": 0.5, "longitude": 2.0},
        {"latitude": 9.0, "longitude": 9.0},
        {"type": "offline", "at": at(-4)},
    ]  # fmt: skip
    messages = [beat(at(number), session=S0, seq=7, **said) for number, said in enumerate(contents)]
    rows = []
    for order in (messages, messages[::-1], [messages[2], *messages, messages[0]]):
        engine = new_engine()
        store = listening_store(engine)
        for one in order:
            store.write([one], at(10))
        rows.append(only(dump(engine)["history"]))
    assert rows[0] == rows[1] == rows[2]


def test_byte_equal_messages_without_seq_are_one_and_others_are_not(engine: Engine) -> None:
    store = listening_store(engine)
    here = {"session": S0, "latitude": 1.0, "longitude": 2.0}
    store.write([beat(T0, **here), beat(at(1), **here), beat(at(2), **here, battery=5)], at(3))
    rows = dump(engine)["history"]
    assert [(row["at"], row["received_at"], row["battery"]) for row in rows] == [(T0, T0, None), (at(2), at(2), 5.0)]
    store.write([beat(at(4), **here)], at(4))
    assert dump(engine)["history"] == rows
    assert roster(engine, at(5))["alice"]["lastSeenAt"] == "2026-11-22T10:00:04.000Z"
    assert roster(engine, at(5))["alice"]["lastFixAt"] == "2026-11-22T10:00:02.000Z"


def test_a_repeat_that_is_received_earlier_gives_the_row_its_time_in_either_order(new_engine: NewEngine) -> None:
    early, late = beat(T0, session=S0, battery=5), beat(at(3), session=S0, battery=5)
    rows = []
    for order in ((early, late), (late, early)):
        engine = new_engine()
        for one in order:
            listening_store(engine).write([one], at(4))
        rows.append(only(dump(engine)["history"]))
    assert rows[0] == rows[1]
    assert rows[0]["at"] == T0


def test_a_future_time_stays_in_the_history_and_never_becomes_current(engine: Engine) -> None:
    store = listening_store(engine)
    ahead = {"session": S0, "seq": 2, "at": at(86_400), "latitude": 50.0, "longitude": 50.0, "battery": 7}
    store.write([beat(T0, session=S0, seq=1, latitude=1.0, longitude=1.0), beat(at(1), **ahead)], at(1))
    store.write([beat(at(2), session=S0, seq=3, at=at(2), latitude=2.0, longitude=2.0, battery=50)], at(2))
    # A second copy of the message must not take its later receipt for the time of its report.
    store.write([beat(at(3), **ahead)], at(3))
    assert [row["latitude"] for row in dump(engine)["history"]] == [1.0, 2.0, 50.0]
    state = roster(engine, at(4))["alice"]
    assert (state["lastLatitude"], state["devices"][0]["battery"]) == (2.0, 50)


def test_a_repeated_heartbeat_with_an_activity_does_not_take_the_activity_back(engine: Engine) -> None:
    store = listening_store(engine)
    first = {"session": S0, "seq": 1, "projectId": "p1"}
    store.write([beat(T0, **first), work(at(1), "p2")], at(1))
    store.write([beat(at(2), **first)], at(2))
    assert roster(engine, at(3))["alice"]["currentProjectId"] == "p2"
    assert [row["project"] for row in dump(engine)["activity_log"]] == ["p1", "p2"]
    assert told(engine).count("activity:changed") == 2


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
    written = store.write([beat(at(1)), beat(at(1), "mallory"), say(at(2), "hi", "mallory"), beat(at(3), device="new")], at(3))
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
    assert [state["timestamp"] for state in states] == [rfc3339(at(second)).replace("Z", ".000Z") for second in range(5)]


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
