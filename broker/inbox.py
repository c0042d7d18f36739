"""Where a link's deliveries wait for the pipe: bounded, and handed from the network's thread to the worker's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from broker.link import Delivery

_MICROSECOND = timedelta(microseconds=1)


class Receipts:
    """Times of receipt, in aware UTC and strictly rising, so that the order of receipt can be read off them."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._last = datetime.min.replace(tzinfo=UTC)

    def next(self) -> datetime:
        self._last = max(self._clock(), self._last + _MICROSECOND)
        return self._last

    def next_many(self, count: int) -> Iterator[datetime]:
        """Yield the times of COUNT messages that came together, a microsecond apart."""
        now = max(self._clock(), self._last + _MICROSECOND)
        self._last = now + (count - 1) * _MICROSECOND
        for _ in range(count):
            yield now
            now += _MICROSECOND


class Inbox:
    """A queue with a limit: whoever fills it looks at `is_full`, and is told by HAS_ROOM when it is full no longer."""

    def __init__(self, limit: int, has_room: Callable[[], None]) -> None:
        self._limit = limit
        self._has_room = has_room
        self._waiting: list[Delivery] = []
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """Return how many deliveries wait for the pipe."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= self._limit

    def put(self, deliveries: Sequence[Delivery]) -> bool:
        """Add DELIVERIES, full or not, and return whether others were waiting; what comes after `close` is dropped unacknowledged."""
        with self._changed:
            behind = bool(self._waiting)
            if not self._closed:
                self._waiting += deliveries
                self._changed.notify_all()
            return behind

    def clear(self) -> None:
        """Forget what nobody has taken: the broker will deliver it again."""
        with self._changed:
            self._waiting.clear()

    def close(self) -> None:
        """End `drain`, and let nobody wait any longer."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def drain(self, idle_s: float) -> Iterator[Delivery | None]:
        """Yield deliveries as they come, None when no more are waiting and then every IDLE_S seconds; end when closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed, timeout=idle_s)
                if self._closed:
                    return
                was_full = self.is_full
                taken, self._waiting = self._waiting, []
            if was_full:
                self._has_room()
            yield from taken
            if not self._waiting:
                yield None
