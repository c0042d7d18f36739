"""Retention on both databases: what is old goes, what is current stays, and nobody waits long."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from ingest.prune import SLICE, prune
from models.topics import Channel
from tests.integration.store_lab import (
    SESSIONS,
    T0,
    Outcome,
    at,
    beat,
    count,
    dump,
    listening_store,
    message,
    offline,
    roster,
    say,
    work,
)

DAY = timedelta(days=1)
OLD, NEW = T0, T0 + 10 * DAY
CUT = T0 + 5 * DAY
S0, S1, S2 = SESSIONS[:3]


def everything(engine: Engine) -> None:
    """Store old and new rows in every table that retention is about; the broker has taken the events."""
    store = listening_store(engine)
    old: list[Outcome] = [
        beat(OLD, session=S0, seq=1, latitude=1.0, longitude=1.0),
        beat(at(1), session=S1, seq=1, projectId="p1"),
        work(at(2), "p2"),
        say(at(3), "old"),
        message(Channel.PRESENCE, b"{", at(4)),
    ]
    store.write(old, at(5))
    new: list[Outcome] = [
        beat(NEW, session=S1, seq=2, latitude=2.0, longitude=2.0),
        work(NEW + timedelta(seconds=1), "p3"),
        say(NEW + timedelta(seconds=2), "new"),
        message(Channel.PRESENCE, b"[", NEW),
    ]
    store.write(new, NEW + timedelta(seconds=5))
    with engine.begin() as connection:
        connection.execute(text("UPDATE event SET confirmed_at = recorded_at"))


def test_old_rows_go_and_current_ones_stay(engine: Engine) -> None:
    everything(engine)
    before = roster(engine, NEW + timedelta(seconds=5))
    planned = prune(engine, CUT, dry_run=True)
    assert count(engine, "history") == 3
    assert prune(engine, CUT) == planned | {"device_session": 1}
    assert planned == {"history": 2, "activity_log": 1, "status_log": 1, "event": 4, "rejected": 1, "device_session": 0}
    tables = dump(engine)
    assert [row["latitude"] for row in tables["history"]] == [2.0]
    # The last old statement stays: it says what the user did until the first new one.
    assert [row["project"] for row in tables["activity_log"]] == ["p2", "p3"]
    assert [row["message"] for row in tables["status_log"]] == ["new"]
    assert [row["token"] for row in tables["device_session"]] == [S1]
    assert [bytes(row["head"]) for row in tables["rejected"]] == [b"["]
    assert roster(engine, NEW + timedelta(seconds=5)) == before
    assert set(prune(engine, CUT).values()) == {0}


def test_what_no_broker_has_confirmed_stays_however_old_it_is(engine: Engine) -> None:
    listening_store(engine).write([beat(OLD, session=S0)], OLD)
    assert prune(engine, T0 + 1000 * DAY)["event"] == 0


def test_the_present_state_outlives_all_of_its_history(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(OLD, session=S0, latitude=1.0, longitude=1.0), work(at(1), "p1"), say(at(2), "here")], at(2))
    store.write([offline(at(3), session=S0, reason="signed_off")], at(3))
    before = roster(engine, CUT)
    prune(engine, CUT)
    assert count(engine, "history") == 0
    assert roster(engine, CUT) == before
    # The running worker goes on with the session that it remembers, and with one that was removed.
    assert store.write([beat(CUT, session=S0, seq=5), beat(CUT, session=S2, seq=1)], CUT).stored == 2
    assert roster(engine, CUT)["alice"]["status"] == "online"


def test_many_rows_go_in_slices_or_with_their_day_and_each_time_it_is_told(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(at(number / 1000), session=S0, seq=number) for number in range(SLICE + 10)], at(60))
    told: list[tuple[str, int]] = []
    assert prune(engine, CUT, progress=lambda name, rows: told.append((name, rows)))["history"] == SLICE + 10
    in_slices = [("history", SLICE), ("history", SLICE + 10)]
    assert told[: told.index(("history", SLICE + 10)) + 1] == (
        in_slices if engine.dialect.name == "sqlite" else in_slices[1:]
    )


def test_of_the_day_in_which_the_limit_lies_the_earlier_rows_go(engine: Engine) -> None:
    store, many = listening_store(engine), 8_000
    store.write([beat(at(number / 1000), session=S0, seq=number) for number in range(many)], at(60))
    limit = at(6)
    planned = prune(engine, limit, dry_run=True)
    assert planned["history"] == 6_000
    assert prune(engine, limit)["history"] == 6_000
    assert {row["message"] for row in dump(engine)["history"]} == set(range(6_000, many))


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_a_day_that_somebody_reads_all_along_stays_for_the_next_time(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    listening_store(engine).write([beat(OLD, session=S0, seq=1)], OLD)
    with engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM history"))
        assert prune(engine, CUT)["history"] == 0
    assert [record.__dict__["action"] for record in caplog.records] == ["prune_put_off"]
    assert prune(engine, CUT)["history"] == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_finding_what_is_old_takes_an_index(engine: Engine) -> None:
    with engine.connect() as connection:
        plan = connection.execute(
            text("EXPLAIN QUERY PLAN SELECT user_id FROM history WHERE received_at < 5 LIMIT 5000")
        ).all()
    assert "history_by_receipt" in str(plan)
