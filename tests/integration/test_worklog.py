"""What users worked on, by pages: together they are the whole, and none of them reads the whole log."""

from __future__ import annotations

import random
from datetime import datetime

import pytest
from sqlalchemy import Engine, event

from models import queries, worklog
from models.worklog import Interval, Place, activities, activity_page
from tests.integration.store_lab import at, listening_store, work

PROJECTS = (None, "p1", "p1", "p2")


@pytest.fixture
def busy(engine: Engine) -> Engine:
    """Alice says 200 times, at times some of which are the same, what she works on; bob works on something else meanwhile."""
    store, rng = listening_store(engine), random.Random(7)
    said = [work(at(second), rng.choice(PROJECTS), at=at(second - second % 2)) for second in range(200)]
    store.write([*said, work(at(50), "p9", "bob", at=at(50))], at(200))
    return engine


def whole(engine: Engine, since: datetime | None = None, until: datetime | None = None) -> list[Interval]:
    with engine.connect() as connection:
        return list(activities(connection, "acme", "alice", since, until))


def paged(engine: Engine, limit: int, since: datetime | None = None, until: datetime | None = None) -> list[Interval]:
    found: list[Interval] = []
    place: Place | None = None
    with engine.connect() as connection:
        user = queries.find_user(connection, "acme", "alice") or 0, "alice"
        while True:
            page = activity_page(connection, user, after=place, limit=limit, since=since, until=until)
            assert len(page.intervals) <= limit
            found += page.intervals
            if (place := page.following) is None:
                return found


@pytest.mark.parametrize("limit", [1, 3, 1000])
@pytest.mark.parametrize(("since", "until"), [(None, None), (55, None), (None, 120), (55, 120), (500, None), (-9, -1)])
def test_pages_together_are_the_whole(busy: Engine, limit: int, since: float | None, until: float | None) -> None:
    span = None if since is None else at(since), None if until is None else at(until)
    assert paged(busy, limit, *span) == whole(busy, *span)


def test_an_activity_is_told_as_a_whole_also_where_the_time_asked_for_cuts_it(engine: Engine) -> None:
    store = listening_store(engine)
    said = [work(at(second), "p1", at=at(second)) for second in (10, 20, 30)]
    store.write([*said, work(at(90), None, at=at(90))], at(90))
    expected = [Interval("alice", "p1", None, at(10), at(90))]
    assert whole(engine, at(25), at(40)) == paged(engine, 10, at(25), at(40)) == expected


@pytest.mark.parametrize("limit", [1, 1000])
def test_a_page_reads_a_bounded_stretch_of_the_log(busy: Engine, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worklog, "MOST_READ", 7)
    limits: list[str] = []
    event.listen(busy, "before_cursor_execute", lambda *said: limits.append(said[2]))
    assert paged(busy, limit) == whole(busy)
    reads = [statement for statement in limits if "activity_log" in statement][:-1]
    assert len(reads) > 20
    assert all("LIMIT" in statement for statement in reads)
