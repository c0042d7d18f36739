"""Packed rows on their way to the database: in order, and by a thread, so that the next can be worked out meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager

from sqlalchemy import Connection

from ingest.bulk import Packed


class Sending:
    """The way to a connection; without a THREAD, of which there may be one, whatever is sent is written at once."""

    def __init__(self, connection: Connection, thread: Executor | None) -> None:
        self._connection = connection
        self._thread = thread
        self._under_way: deque[Future[None]] = deque()

    def send(self, packed: Packed) -> None:
        """Have PACKED written after all that was sent before; raise what failed of that."""
        if self._thread is None:
            packed.send(self._connection)
            return
        while self._under_way and self._under_way[0].done():
            self._under_way.popleft().result()
        self._under_way.append(self._thread.submit(packed.send, self._connection))

    def settled(self) -> Connection:
        """Return the connection once all is written; raise what failed."""
        while self._under_way:
            self._under_way.popleft().result()
        return self._connection

    def abandon(self) -> None:
        """Wait until nobody uses the connection any more; what fails by then is of no interest."""
        wait(self._under_way)


@contextmanager
def sending(connection: Connection, thread: Executor | None) -> Iterator[Sending]:
    """Send to CONNECTION, which is free at the end of the block, with all of it written unless the block fails."""
    way = Sending(connection, thread)
    try:
        yield way
        way.settled()
    finally:
        way.abandon()
