"""Repeats in the store, on both databases: copies of one message are one, whatever the order in which they come (contract 4.6)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.integration.store_lab import (
    SESSIONS,
    T0,
    NewEngine,
    Outcome,
    at,
    beat,
    dump,
    full_beat,
    listening_store,
    offline,
    only,
    roster,
    say,
    told,
    work,
)

S0, S1 = SESSIONS[:2]


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
    def batch(later: float) -> list[Outcome]:
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
    contents: list[dict[str, Any]] = [
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


def test_a_batch_that_is_worked_on_in_slices_leaves_the_same_as_one_that_is_not(
    new_engine: NewEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = [beat(T0, session=S0, seq=1, latitude=1.0, longitude=1.0)]
    batch = [
        beat(at(1), session=S0, seq=2, at=at(0.5), battery=10), beat(at(2), "bob", session=S0, seq=1),
        beat(at(3), session=S0, seq=1, latitude=2.0, longitude=2.0), beat(at(4), session=S0, seq=2, at=at(0.7), battery=20),
        beat(at(5), session=S0, seq=1, latitude=3.0, longitude=3.0), beat(at(6), session=S1, latitude=4.0, longitude=4.0),
        beat(at(7), session=S0, seq=2, at=at(0.6), battery=30), offline(at(8), session=S0), work(at(9), "p1"),
        beat(at(10), device="tablet", session=S1, seq=1), beat(at(11), session=S1, latitude=4.0, longitude=4.0),
        offline(at(12), "bob", session=S0, reason="signed_off"), say(at(13), "Back at five"), beat(at(14), session=S0, seq=9),
        beat(at(15), session=S0, seq=0),
    ]  # fmt: skip

    def result() -> list[object]:
        engine = new_engine()
        store = listening_store(engine)
        store.write(earlier, T0)
        written = store.write(iter(batch), at(20))
        tables = dump(engine)
        counts = written.stored, written.late, written.duplicates, written.events, written.rejected
        names = "history", "device_session", "device", "presence", "activity_log", "status_log"
        return [counts, *([*tables[name]] for name in names), told(engine, "alice"), told(engine, "bob")]

    whole = result()
    monkeypatch.setattr("ingest.store.SLICE", 1)
    monkeypatch.setattr("ingest.transaction.PART", 1)
    assert result() == whole
    assert whole[0] == (8, 1, 5, 4, 0)


def test_byte_equal_messages_without_seq_are_one_and_others_are_not(engine: Engine) -> None:
    store = listening_store(engine)
    here: dict[str, Any] = {"session": S0, "latitude": 1.0, "longitude": 2.0}
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


def test_a_repeated_heartbeat_with_an_activity_does_not_take_the_activity_back(engine: Engine) -> None:
    store = listening_store(engine)
    first: dict[str, Any] = {"session": S0, "seq": 1, "projectId": "p1"}
    store.write([beat(T0, **first), work(at(1), "p2")], at(1))
    store.write([beat(at(2), **first)], at(2))
    assert roster(engine, at(3))["alice"]["currentProjectId"] == "p2"
    assert [row["project"] for row in dump(engine)["activity_log"]] == ["p1", "p2"]
    assert told(engine).count("activity:changed") == 2
