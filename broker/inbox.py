"""Where a link's deliveries wait for the pipe: bounded, and handed from the network's thread to the worker's."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
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


class Inbox:
    """A bounded queue; `put` waits while it is full, which holds the network back and so the broker."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Delivery] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, delivery: Delivery) -> None:
        """Add DELIVERY, waiting for room; what comes after `close` is dropped unacknowledged."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < self._limit or self._closed)
            self._waiting.append(delivery)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget what nobody has taken: the broker will deliver it again."""
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()

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
                taken = list(self._waiting)
                self._waiting.clear()
                self._changed.notify_all()
            yield from taken
            if not self._waiting:
                yield None
