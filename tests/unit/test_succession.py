"""Which session of a device is the newest, and what it does to those before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.facts import Battery, Heard, Session, Signal, Stamp
from models.succession import Key, current, join, minted, needs_siblings, newer
from tests.unit.people import Life, heartbeat, minute, sign_off, will
from tests.unit.session_ids import ulid, uuid7


def session(session_id: str, first: float = 0) -> Session:
    return Session("phone", session_id, minute(first))


def joined(*facts: tuple[str, float, bool]) -> dict[Key, Session]:
    """Return the sessions of a device, each given as id, receipt, and whether it was heard or only ended."""
    sessions: dict[Key, Session] = {}
    for session_id, when, heard in facts:
        join(sessions, ("phone", session_id), minute(when), minute(when) if heard else None)
    return sessions


def superseded(sessions: dict[Key, Session]) -> dict[str, datetime | None]:
    return {key[1]: one.superseded for key, one in sessions.items()}


def test_the_time_of_a_ulid_is_read() -> None:
    assert minted("01ARZ3NDEKTSV4RRFFQ69G5FAV") == datetime(2016, 7, 30, 23, 54, 10, 259000, UTC)
    assert minted("01arz3ndektsv4rrffq69g5fav") == minted("01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_the_time_of_a_uuid_of_version_7_is_read() -> None:
    assert minted("017f22e2-79b0-7cc3-98c4-dc0c0c07398f") == datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    "session_id",
    [
        "",
        "s1",
        "81ARZ3NDEKTSV4RRFFQ69G5FAV",
        "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "01ARZ3NDEKTSV4RRFFQ69G5FAI",
        "01ARZ3NDEKTSV4RRFFQ69G5FA",
        "c232ab00-9414-11ec-b3c8-9f6bdeced846",
        "919108f7-52d1-4320-9bac-f847db4148a8",
        "017f22e2_79b0_7cc3_98c4_dc0c0c07398f",
        "017f2_e2-79b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-28c4-dc0c0c07398f",
        "ffffffff-ffff-7cc3-98c4-dc0c0c07398f",
    ],
)
def test_other_ids_tell_no_time(session_id: str) -> None:
    assert minted(session_id) is None


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 200_000_000_000_000))
def test_every_time_that_an_id_was_made_with_is_read_back(ms: int) -> None:
    made = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)

    assert minted(ulid(made)) == made
    assert minted(uuid7(made)) == made


def test_an_id_that_tells_a_later_time_is_newer_whatever_arrived_first() -> None:
    early, late = ulid(minute(-2)), ulid(minute(-1))

    assert newer(session(late, first=0), session(early, first=5))
    assert not newer(session(early, first=5), session(late, first=0))


def test_ulids_and_uuids_compare_by_the_time_in_them() -> None:
    assert newer(session(uuid7(minute(-1)), first=0), session(ulid(minute(-2)), first=5))


def test_two_ids_of_one_millisecond_are_ordered_by_their_text() -> None:
    one, other = (ulid(minute(-1), tail) for tail in ("0", "Z"))

    assert newer(session(other, 0), session(one, 5))
    assert not newer(session(one, 5), session(other, 0))


@pytest.mark.parametrize(("one", "other"), [("b", "a"), ("a", "b"), (ulid(minute(-1)), "a"), ("a", ulid(minute(-1)))])
def test_ids_that_do_not_both_tell_a_time_are_ordered_by_first_receipt(one: str, other: str) -> None:
    assert newer(session(one, first=1), session(other, first=0))
    assert not newer(session(one, first=0), session(other, first=1))


@pytest.mark.parametrize("wrong", [datetime(1999, 8, 22, tzinfo=UTC), datetime(2037, 1, 1, tzinfo=UTC)])
def test_an_id_from_a_clock_that_is_wrong_by_years_is_ordered_by_first_receipt(wrong: datetime) -> None:
    right = session(ulid(minute(0)), first=0)

    assert newer(session(ulid(wrong), first=1), right)
    assert not newer(session(ulid(wrong), first=-1), right)


def test_a_clock_may_run_two_minutes_ahead() -> None:
    older = session(ulid(minute(1)), first=5)

    assert newer(session(ulid(minute(2)), first=0), older)
    assert not newer(session(ulid(minute(2) + timedelta(milliseconds=1)), first=0), older)


def test_a_new_session_supersedes_the_one_before_at_its_first_receipt() -> None:
    assert superseded(joined(("a", 0, True), ("b", 5, True))) == {"a": minute(5), "b": None}


def test_no_session_supersedes_itself() -> None:
    sessions = joined(("a", 0, True), ("b", 5, True), ("c", 6, True))

    assert superseded(sessions) == {"a": minute(5), "b": minute(6), "c": None}
    assert current(sessions, "phone") == ("phone", "c")


def test_a_session_superseded_twice_was_superseded_when_the_first_newer_one_came() -> None:
    old, middle, new = (ulid(minute(-number)) for number in (3, 2, 1))
    sessions = joined((old, 0, True), (new, 4, True), (middle, 6, True))

    assert superseded(sessions) == {old: minute(4), middle: minute(4), new: None}


def test_a_session_that_was_only_ended_supersedes_nothing() -> None:
    sessions = joined(("a", 0, True), ("b", 5, False))

    assert superseded(sessions) == {"a": None, "b": None}
    assert current(sessions, "phone") == ("phone", "a")


def test_it_does_once_it_is_heard() -> None:
    sessions = joined(("a", 0, True), ("b", 5, False), ("b", 6, True))

    assert superseded(sessions) == {"a": minute(5), "b": None}


def test_devices_do_not_supersede_each_other() -> None:
    sessions: dict[Key, Session] = {}
    for device in ("phone", "tablet"):
        join(sessions, (device, "s"), minute(0), minute(0))

    assert [one.superseded for one in sessions.values()] == [None, None]
    assert current(sessions, "watch") is None


def test_the_empty_session_is_superseded_by_a_named_one_that_begins_later() -> None:
    assert superseded(joined(("", 0, True), ("a", 5, True))) == {"": minute(5), "a": None}


@pytest.mark.parametrize("heard", [(True, True, True), (True, False, True), (False, True, True), (True, True, False)])
def test_the_succession_does_not_depend_on_the_order_of_arrival(heard: tuple[bool, ...]) -> None:
    ids = [ulid(minute(-3)), ulid(minute(-2)), ulid(minute(-1))]
    facts = [*zip(ids, (4, 0, 2), heard, strict=True), (ids[0], 1, True), (ids[2], 3, False)]

    results = {tuple(sorted(superseded(joined(*order)).items())) for order in permutations(facts)}

    assert len(results) == 1


def test_what_the_older_session_reported_passes_to_the_newest() -> None:
    life = Life(heartbeat(0, "a", place=(1, 2), battery=50), heartbeat(1, "b"), heartbeat(2, "c"))

    newest = life.person.sessions["phone", "c"]

    assert newest.battery == Battery(Stamp(minute(0)), 50)
    assert newest.fix is not None
    assert (newest.fix.latitude, newest.fix.longitude) == (1, 2)


def test_what_arrives_late_for_an_older_session_passes_on_too() -> None:
    life = Life(heartbeat(0, "a"), heartbeat(5, "b"), heartbeat(6, "a", at=4, battery=40))

    assert life.person.sessions["phone", "b"].battery == Battery(Stamp(minute(4)), 40)
    assert life.at(7).devices[0].battery == 40


@pytest.mark.parametrize(
    ("signal", "answer"),
    [
        (heartbeat(9, "b"), False),
        (heartbeat(9, "c"), False),
        (will(9, "b"), False),
        (will(9, None), False),
        (heartbeat(9, ""), False),
        (heartbeat(9, "s", "tablet"), False),
        (heartbeat(4, "b"), True),
        (heartbeat(4, "c"), True),
        (sign_off(4, "c"), True),
        (heartbeat(9, ulid(minute(-9))), False),
    ],
)
def test_all_sessions_of_a_device_are_needed_only_for_what_is_late(signal: Signal, answer: bool) -> None:
    newest = joined(("b", 5, True))

    assert needs_siblings(newest, signal) is answer


def test_all_sessions_are_needed_for_the_first_heartbeat_after_its_own_end() -> None:
    sessions = joined(("a", 0, True), ("b", 5, False))

    assert needs_siblings(sessions, heartbeat(6, "b"))
    assert not needs_siblings(sessions, will(6, "b"))
    assert isinstance(heartbeat(6, "b"), Heard)


def test_all_sessions_are_needed_for_an_id_that_is_older_than_the_newest() -> None:
    newest = joined((ulid(minute(-1)), 0, True))

    assert needs_siblings(newest, heartbeat(1, ulid(minute(-2))))
    assert not needs_siblings(newest, heartbeat(1, ulid(minute(0))))
