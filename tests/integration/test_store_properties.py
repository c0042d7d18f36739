"""Whatever the order, the repetition and the split over two stores: the same roster and the same history (contract 4.6)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from ingest.store import Store
from models.queries import ACTIVITY, COMPANY, DEVICE, HISTORY, SESSION, USER
from tests.integration.store_lab import SESSIONS, Outcome, at, beat, listening_store, offline, roster, say, work

Table = list[tuple[Any, ...]]
_numbers = itertools.count()

SPAN_S = 1200
"""Long enough for a lease to run out in between."""


_ROWS = ("user_id", "session_id")
"""Columns that hold ids of rows, which differ from one company to the next."""

Spec = tuple[str, float, str, dict[str, Any]]
"""A message as hypothesis makes it: kind, second of its receipt, user, fields. Short, so that a failure can be read."""


@st.composite
def specs(draw: st.DrawFn, second: float) -> Spec:
    """One message of a fleet of two users with a few devices and sessions, received at SECOND."""
    kind = draw(st.sampled_from(["beat", "beat", "beat", "offline", "work", "say"]))
    user = draw(st.sampled_from(["alice", "bob"]))
    fields: dict[str, Any] = {}
    if kind in ("beat", "offline"):
        fields["device"] = draw(st.sampled_from(["phone", "tablet"]))
        fields["session"] = draw(st.sampled_from(SESSIONS[:3]))
    match kind:
        case "beat":
            fields |= draw(st.fixed_dictionaries({"status": st.sampled_from(["online", "away"])}, optional=_REPORTED))
            # Two messages with one seq are one message: each has its own.
            fields["seq"] = round(second * 1000)
        case "offline":
            fields["reason"] = draw(st.sampled_from(["connection_lost", "signed_off"]))
        case "work":
            fields["project"] = draw(st.sampled_from(["p1", "p2", None]))
        case _:
            # Of two equal texts the first receipt counts, and it must come first: these differ.
            fields["text"] = f"said at {second}"
    if kind in ("beat", "work") and draw(st.booleans()):
        fields["at"] = at(round(second + draw(st.integers(-600, 600)), 3))
    return kind, second, user, fields


_REPORTED = {
    "battery": st.integers(0, 3),
    "projectId": st.sampled_from(["p1", "p3"]),
    "latitude": st.sampled_from([1.0, 2.0]),
}
_MAKE: dict[str, Callable[..., Outcome]] = {"beat": beat, "offline": offline, "work": work, "say": say}


def sent(spec: Spec, company: str) -> Outcome:
    kind, second, user, fields = spec
    if "latitude" in fields:
        fields = fields | {"longitude": 3.0}
    return _MAKE[kind](at(second), user=user, company=company, **fields)


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[Spec], list[tuple[int, int]]]:
    """Some messages, and in which order which of two stores takes which of them, some more than once."""
    seconds = draw(st.lists(st.integers(0, SPAN_S * 10), min_size=2, max_size=10, unique=True))
    said = [draw(specs(second / 10)) for second in sorted(seconds)]
    repeated = draw(st.lists(st.sampled_from(range(len(said))), max_size=4))
    order = draw(st.permutations([*range(len(said)), *repeated]))
    return said, [(number, draw(st.integers(0, 1))) for number in order]


def facts(engine: Engine, company: str, seconds: float) -> tuple[Any, Table, Table]:
    """Return the roster of COMPANY without what counts announcements, its history, and its activity log."""
    states = roster(engine, at(seconds), company)
    for state in states.values():
        del state["rev"], state["since"], state["companyId"]
    with engine.connect() as connection:
        of_company = select(USER.c.name).join_from(USER, COMPANY).where(COMPANY.c.name == company)
        history = connection.execute(
            of_company.join(HISTORY, HISTORY.c.user_id == USER.c.id)
            .join(SESSION, SESSION.c.id == HISTORY.c.session_id)
            .join(DEVICE, DEVICE.c.id == SESSION.c.device_id)
            .add_columns(DEVICE.c.name, SESSION.c.token, *(column for column in HISTORY.c if column.name not in _ROWS))
            .order_by(USER.c.name, DEVICE.c.name, SESSION.c.token, HISTORY.c.message)
        )
        activity = connection.execute(
            of_company.join(ACTIVITY, ACTIVITY.c.user_id == USER.c.id)
            .add_columns(*list(ACTIVITY.c)[1:])
            .order_by(USER.c.name, ACTIVITY.c.at, ACTIVITY.c.digest)
        )
        return states, [tuple(row) for row in history], [tuple(row) for row in activity]


def play(stores: Sequence[Store], said: Sequence[Outcome], order: Sequence[tuple[int, int]], size: int) -> None:
    """Let STORES take messages in ORDER, in batches of up to SIZE."""
    for worker, run in itertools.groupby(order, key=lambda step: step[1]):
        batch = [said[number] for number, _ in run]
        for start in range(0, len(batch), size):
            stores[worker].write(batch[start : start + size], at(SPAN_S))


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_repetition_and_split_ends_in_the_same_roster_and_history(
    engine: Engine, data: st.DataObject
) -> None:
    # Each example is a company of its own, so that what the stores remember is tried as well.
    stores = _stores.setdefault(engine, (listening_store(engine), listening_store(engine)))
    (specs_, order), size = data.draw(plans()), data.draw(st.integers(1, 5))
    found = []
    for steps in ([(number, 0) for number in range(len(specs_))], order):
        company = f"c{next(_numbers)}"
        play(stores, [sent(spec, company) for spec in specs_], steps, size)
        found.append([facts(engine, company, seconds) for seconds in (SPAN_S, SPAN_S + 600, SPAN_S + 2000)])
    assert found[0] == found[1]


_stores: WeakKeyDictionary[Engine, tuple[Store, Store]] = WeakKeyDictionary()
