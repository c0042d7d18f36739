"""Any order, any repetition and any split over workers of the same signals ends in the same state (contract 4.6)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from models.events import Event, FellSilent
from models.facts import Heard, Reason, Signal, Status
from models.presence import advance, settle, state
from models.standing import Person, Standing, Terms, standing
from tests.unit.people import SECOND, TERMS, activity, heartbeat, minute, revocation, says, sign_off, will
from tests.unit.session_ids import ulid, uuid7

EXAMPLES = settings(max_examples=15, deadline=None)

# Each device mints ids of one kind, as devices do; the times in them need not agree with the order of receipt.
SESSIONS = {
    "phone": [ulid(minute(number - 10)) for number in range(4)],
    "tablet": ["boot-3", "boot-1", "boot-2"],
    "watch": [uuid7(minute(number - 9)) for number in range(3)],
}
WHENS = st.integers(0, 60 * 4).map(lambda quarter: quarter / 4) | st.sampled_from([0, 5, 5 + 10 * SECOND, 20, 20.001])
SESSION_OF = st.sampled_from([(session, device) for device, ids in SESSIONS.items() for session in ids])
PLACES = st.sampled_from([None, (1.0, 1.0), (1.0, 2.0), (3.0, 3.0)])


@st.composite
def heartbeats(draw: st.DrawFn) -> Heard:
    when = draw(WHENS)
    return heartbeat(
        when,
        *draw(SESSION_OF),
        at=draw(st.sampled_from([when, 0, 3, when - 1])),
        seq=draw(st.integers(-1, 3)),
        status=draw(st.sampled_from([Status.ONLINE, Status.AWAY])),
        place=draw(PLACES),
        battery=draw(st.sampled_from([None, 10, 90])),
        project=draw(st.sampled_from([None, "p", "q"])),
    )


ENDS = st.builds(lambda end, when, key: end(when, *key), st.sampled_from([will, sign_off]), WHENS, SESSION_OF)
ACTIVITIES = st.builds(
    lambda when, project, task, late: activity(when, project, task if project else None, at=when - late),
    WHENS,
    st.sampled_from([None, "p", "q"]),
    st.sampled_from([None, "t"]),
    st.sampled_from([0, 5]),
)
TEXTS = st.builds(
    lambda when, message, until: says(when, message, until if message else None),
    WHENS,
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([None, 30, 70]),
)
SIGNALS = st.lists(heartbeats() | heartbeats() | ENDS | ACTIVITIES | TEXTS, min_size=1, max_size=14)
ALL_TERMS = st.sampled_from([TERMS, Terms(offline_grace=TERMS.offline_grace * 0), Terms(listening_since=minute(12))])
LAST = 200.0


@dataclass(frozen=True)
class Outcome:
    """What must not depend on the way there."""

    status: Status
    reason: Reason | None
    devices: object
    fix: object
    work: object
    text: object
    leases: object


def live(signals: Sequence[Signal], terms: Terms = TERMS, end: float = LAST) -> tuple[Person, list[Event]]:
    """Apply SIGNALS in the order given, then let the sweep come by."""
    person, told = Person(), list[Event]()
    for signal in signals:
        person, events = advance(person, signal, terms)
        told += events
    person, events = settle(person, minute(end), terms)
    return person, told + list(events)


def outcome(person: Person, terms: Terms = TERMS, end: float = LAST) -> Outcome:
    truth: Standing = standing(person, minute(end), terms)
    sessions = person.sessions.values()
    return Outcome(
        truth.status,
        truth.reason,
        truth.devices,
        state("acme", "alice", person, minute(end), terms).fix,
        (truth.project, truth.task, truth.worked),
        truth.message,
        sorted((one.key, one.first, one.heard, one.lost, one.left, one.superseded) for one in sessions if one.heard),
    )


def in_order(signals: Sequence[Signal]) -> list[Signal]:
    return sorted(signals, key=lambda signal: signal.received)


def interleaved(draw: Any, signals: Sequence[Signal], workers: int) -> list[Signal]:  # noqa: ANN401 hypothesis' DataObject.draw
    """Deal SIGNALS, in the order of receipt, to WORKERS, each of whom applies its own in order; return the order of application."""
    queues: list[list[Signal]] = [[] for _ in range(workers)]
    for signal in in_order(signals):
        queues[draw(st.integers(0, workers - 1))].append(signal)
    applied = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        applied.append(queue.pop(0))
    return applied


@EXAMPLES
@given(SIGNALS, ALL_TERMS, st.sampled_from([0.0, 20.0, 61.0, LAST]), st.data())
def test_any_order_ends_in_the_same_state(
    signals: list[Signal], terms: Terms, more: float, data: st.DataObject
) -> None:
    end = max(more, *((signal.received - minute(0)).total_seconds() / 60 for signal in signals), 0)
    shuffled = data.draw(st.permutations(signals))

    expected, _ = live(in_order(signals), terms, end)
    found, _ = live(shuffled, terms, end)

    assert outcome(found, terms, end) == outcome(expected, terms, end)


@EXAMPLES
@given(SIGNALS, st.lists(st.integers(0, 13), max_size=8), st.data())
def test_any_repetition_ends_in_the_same_state(signals: list[Signal], again: list[int], data: st.DataObject) -> None:
    repeated = data.draw(st.permutations([*signals, *(signals[number % len(signals)] for number in again)]))

    assert outcome(live(repeated)[0]) == outcome(live(in_order(signals))[0])


@EXAMPLES
@given(SIGNALS, st.integers(2, 4), st.data())
def test_any_split_over_workers_ends_in_the_same_state(
    signals: list[Signal], workers: int, data: st.DataObject
) -> None:
    applied = interleaved(data.draw, signals, workers)

    assert outcome(live(applied)[0]) == outcome(live(in_order(signals))[0])


@EXAMPLES
@given(SIGNALS, st.lists(st.floats(0, LAST), max_size=6), st.data())
def test_sweeps_in_between_change_nothing(signals: list[Signal], sweeps: list[float], data: st.DataObject) -> None:
    steps: list[Signal | float] = data.draw(st.permutations([*signals, *sweeps]))
    person = Person()
    for step in steps:
        if isinstance(step, float):
            person, _ = settle(person, minute(step), TERMS)
        else:
            person, _ = advance(person, step, TERMS)

    assert outcome(settle(person, minute(LAST), TERMS)[0]) == outcome(live(in_order(signals))[0])


@EXAMPLES
@given(SIGNALS, st.data())
def test_signals_that_come_again_announce_nothing(signals: list[Signal], data: st.DataObject) -> None:
    person, _ = live(signals)
    again = data.draw(st.permutations(signals))

    told: list[Event] = []
    for signal in again:
        person, events = advance(person, signal, TERMS)
        told += events
    _, events = settle(person, minute(LAST), TERMS)

    assert [*told, *events] == []


@EXAMPLES
@given(SIGNALS, st.data())
def test_users_come_and_go_by_turns(signals: list[Signal], data: st.DataObject) -> None:
    person, told = live(data.draw(st.permutations(signals)))

    turns = [event.type for event in told if event.type in {"user:online", "user:offline"}]

    assert turns[:1] in ([], ["user:online"])
    assert all(one != other for one, other in pairwise(turns))
    assert (turns[-1:] == ["user:online"]) is (person.announced.status is not Status.OFFLINE)


@EXAMPLES
@given(SIGNALS)
def test_what_is_announced_follows_time(signals: list[Signal]) -> None:
    _, told = live(in_order(signals))

    times = [event.at for event in told if event.type in {"user:online", "user:offline"}]

    assert times == sorted(times)


@EXAMPLES
@given(SIGNALS)
def test_each_event_of_activity_and_text_differs_from_the_one_before(signals: list[Signal]) -> None:
    _, told = live(in_order(signals))

    for kind in ("activity:changed", "status:updated"):
        said = [{**event.details(), "statusUpdatedAt": None} for event in told if event.type == kind]
        assert all(one != other for one, other in pairwise(said))


@EXAMPLES
@given(SIGNALS, st.data())
def test_no_lease_falls_silent_twice(signals: list[Signal], data: st.DataObject) -> None:
    _, told = live(data.draw(st.permutations(signals)))

    notices = [event for event in told if isinstance(event, FellSilent)]

    assert len(notices) == len(set(notices))


@EXAMPLES
@given(SIGNALS, ALL_TERMS, st.floats(0, LAST))
def test_the_truth_that_is_read_is_the_one_that_a_sweep_would_announce(
    signals: list[Signal], terms: Terms, when: float
) -> None:
    person = Person()
    for signal in in_order(signals):
        person, _ = advance(person, signal, terms)
    when = max(when, (max(signal.received for signal in signals) - minute(0)).total_seconds() / 60)

    read = state("acme", "alice", person, minute(when), terms)
    swept, _ = settle(person, minute(when), terms)
    shown = state("acme", "alice", swept, minute(when), terms)

    assert (read.status, read.reason, read.since) == (shown.status, shown.reason, shown.since)
    assert (read.fix, read.project, read.message, read.devices) == (
        shown.fix,
        shown.project,
        shown.message,
        shown.devices,
    )
    announced = swept.announced
    assert (shown.status, shown.reason, shown.since) == (announced.status, announced.reason, announced.since)


@EXAMPLES
@given(SIGNALS, ALL_TERMS)
def test_nothing_changes_before_it_is_due(signals: list[Signal], terms: Terms) -> None:
    person = Person()
    for signal in in_order(signals):
        person, _ = advance(person, signal, terms)
        just_before = minute(10_000) if person.due is None else person.due - TERMS.offline_grace / 1000
        if just_before > signal.received:
            after, told = settle(person, just_before, terms)
            assert told == ()
            assert after.announced == person.announced


@EXAMPLES
@given(SIGNALS)
def test_last_seen_never_goes_back(signals: list[Signal]) -> None:
    person, seen = Person(), -math.inf
    for signal in signals:
        person, _ = advance(person, signal, TERMS)
        times = [device.last_seen for device in standing(person, signal.received, TERMS).devices]
        newest = max((time.timestamp() for time in times if time is not None), default=-math.inf)
        assert newest >= seen
        seen = newest


@EXAMPLES
@given(SIGNALS)
def test_the_everyday_shortcut_decides_as_the_whole_rules_do(signals: list[Signal]) -> None:
    quick, whole = Person(), Person()
    for signal in in_order(signals):
        quick, told = advance(quick, signal, TERMS)
        settled, lapsed = settle(whole, signal.received, TERMS)
        whole, changed = advance(_never_due(settled), signal, TERMS)
        assert told == lapsed + changed
        assert quick.announced == whole.announced
        assert quick.sessions == whole.sessions


def _never_due(person: Person) -> Person:
    """Return PERSON as one who never takes the shortcut."""
    return replace(person, due=None)


@EXAMPLES
@given(SIGNALS, WHENS)
def test_a_revoked_user_is_offline_whatever_the_order_of_what_came_before(signals: list[Signal], when: float) -> None:
    before = [signal for signal in in_order(signals) if signal.received <= minute(when)]
    person = Person()
    for signal in [*before, revocation(when)]:
        person, _ = advance(person, signal, TERMS)

    assert person.announced.status is Status.OFFLINE
