"""A track by pages: together they are the whole, however rare what is asked for is, and no page reads the whole history."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from models import paging, queries
from models.paging import TrackPlace, track_page
from tests.integration.store_lab import SESSIONS, at, beat, listening_store, offline


@pytest.fixture
def walked(engine: Engine) -> Engine:
    """Alice's van tells its position each second, her watch every 50 s, and her phone never knows where it is."""
    store = listening_store(engine)
    said = [offline(at(1), device="phone", session=SESSIONS[2])]
    for second in range(300):
        place: dict[str, Any] = {"latitude": 12.0, "longitude": 77.0 + second / 1000}
        said.append(beat(at(second), device="van", session=SESSIONS[0], seq=second, at=at(second), **place))
        said.append(beat(at(second), device="phone", session=SESSIONS[2], seq=second, at=at(second)))
        if second % 50 == 0:
            said.append(beat(at(second), device="watch", session=SESSIONS[1], seq=second, at=at(second), **place))
    store.write(said, at(300))
    return engine


def pages(engine: Engine, limit: int, device: str | None) -> list[list[float]]:
    """Return the seconds of the positions on each page."""
    found: list[list[float]] = []
    place: TrackPlace | None = None
    with engine.connect() as connection:
        user_id = queries.find_user(connection, "acme", "alice") or 0
        while True:
            page = track_page(connection, user_id, after=place, limit=limit, device=device)
            found.append([(row["at"] - at(0)).total_seconds() for row in page.rows])
            if (place := page.following) is None:
                return found


@pytest.mark.parametrize(("device", "every"), [("van", 1), ("watch", 50), ("phone", 1000)])
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_together_are_the_whole(
    walked: Engine, limit: int, device: str, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "MOST_READ", 40)
    monkeypatch.setattr(paging, "_WINDOW", 10)
    found = pages(walked, limit, device)
    assert max(map(len, found)) <= limit
    expected = [] if device == "phone" else [float(second) for second in range(0, 300, every)]
    assert [second for page in found for second in page] == expected


def test_a_page_that_finds_little_ends_early(walked: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MOST_READ", 40)
    monkeypatch.setattr(paging, "_WINDOW", 10)
    assert len(pages(walked, 5, "phone")) > 10
