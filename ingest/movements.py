"""Who has only moved, and when they are to be published: seldom each, and little at a time while the pipe is busy. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping

PAGE = 100
"""What only moved goes in small pages, so that what changed waits for few of them."""
SHARE = 20
"""While the pipe is busy, one part in so many of the time goes to pages of those who moved."""
MOST_WAITING = 100_000
"""Who comes on top of so many is not noted: their next movement will be."""
_FORGET_ABOVE = 1000


class Movements:
    """Users with the time at which each is due; times are seconds of one monotonic clock."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self.busy = False
        """Whether the pipe has little time to spare."""
        self._moved: dict[int, float] = {}
        self._queue: list[tuple[float, int]] = []
        self._published: dict[int, float] = {}
        self._rested = 0.0

    def note(self, users: Collection[int], now: float) -> None:
        """Note that USERS moved: each is due an interval after the last publication, or at once."""
        moved, published, interval_s = self._moved, self._published, self._interval_s
        for user_id in users:
            if user_id not in moved and len(moved) < MOST_WAITING:
                moved[user_id] = due = max(now, published.get(user_id, 0.0) + interval_s)
                heapq.heappush(self._queue, (due, user_id))

    def put_off(self, published: Mapping[int, float], now: float) -> None:
        """Note that these users moved, each of whom another process has PUBLISHED at the time that goes with the user."""
        self._published |= published
        self.note(published, now)

    def next_at(self) -> float | None:
        """Return when somebody will be due, None when nobody is waiting."""
        if not self._queue:
            return None
        due = self._queue[0][0]
        return max(due, self._rested) if self.busy else due

    def due(self, now: float) -> list[int]:
        """Take up to a page of those who are due at NOW, the longest due first."""
        page: list[int] = []
        if self.busy and now < self._rested:
            return page
        while self._queue and self._queue[0][0] <= now and len(page) < PAGE:
            due, user_id = heapq.heappop(self._queue)
            if self._moved.get(user_id) == due:  # not published since, for another reason
                page.append(user_id)
        return page

    def publish(self, users: Collection[int], now: float) -> None:
        """Note that USERS are published at NOW, whatever for."""
        for user_id in users:
            self._moved.pop(user_id, None)
            self._published[user_id] = now
        if len(self._published) > _FORGET_ABOVE + 2 * len(self._moved):
            oldest = now - self._interval_s
            self._published = {user_id: at for user_id, at in self._published.items() if at > oldest}

    def rest(self, now: float, took_s: float) -> None:
        """Note that a page which TOOK_S seconds was done at NOW: while the pipe is busy, the next has to wait."""
        self._rested = now + took_s * (SHARE - 1)
