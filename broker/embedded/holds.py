"""PUBACK means stored: acknowledgements that wait until the consumers of a message have acknowledged theirs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from broker.embedded.limits import Limits
from broker.embedded.messages import Message


class Publisher(Protocol):
    """The connection that waits for acknowledgements."""

    held: int

    def released(self) -> None:
        """Send what may be sent now."""


class Hold:
    """One message that the service has to store, and the packet that tells its publisher so.

    `waiting` counts the consumers that have it and have not acknowledged it.
    """

    __slots__ = ("acknowledged", "answer", "done", "message", "publisher", "waiting")

    def __init__(self, message: Message, publisher: Publisher | None, answer: bytes, waiting: int) -> None:
        self.message = message
        self.publisher = publisher
        self.answer = answer
        self.waiting = waiting
        self.acknowledged = False
        self.done = False


class Holds:
    """All messages that wait to be stored, bounded by number and bytes.

    A message is released when each consumer it was handed to has acknowledged it or is gone, and one has acknowledged it.
    One that no consumer has is an orphan; the next consumer gets it.
    """

    def __init__(self, limits: Limits, made_room: Callable[[], None]) -> None:
        self._limits = limits
        self._made_room = made_room
        self._orphans: deque[Hold] = deque()
        self.count = 0
        self.bytes = 0
        self._was_full = False

    @property
    def full(self) -> bool:
        """Whether publishers must wait."""
        if self.count >= self._limits.held or self.bytes >= self._limits.held_bytes:
            self._was_full = True
            return True
        return False

    @property
    def overfull(self) -> bool:
        """Whether wills, whose publishers cannot wait, must be dropped."""
        return self.count >= 2 * self._limits.held or self.bytes >= 2 * self._limits.held_bytes

    def open(self, message: Message, publisher: Publisher | None, answer: bytes, consumers: int) -> Hold:
        """Return the hold of a MESSAGE that is about to be handed to so many CONSUMERS."""
        hold = Hold(message, publisher, answer, consumers)
        self.count += 1
        self.bytes += len(message.payload)
        if publisher is not None:
            publisher.held += 1
        if not consumers:
            self._orphans.append(hold)
        return hold

    def acknowledge(self, hold: Hold) -> None:
        """A consumer has stored it."""
        hold.acknowledged = True
        hold.waiting -= 1
        if hold.waiting <= 0 and not hold.done:
            self._release(hold)

    def give_back(self, hold: Hold) -> None:
        """A consumer is gone without an acknowledgement."""
        hold.waiting -= 1
        if hold.waiting > 0 or hold.done:
            return
        if hold.acknowledged:
            self._release(hold)
        else:
            self._orphans.append(hold)

    def adopt(self, wanted: Callable[[Message], bool]) -> list[Hold]:
        """Return the orphans that are WANTED, oldest first; they are the new consumer's from now on."""
        orphans = [hold for hold in self._orphans if not hold.done]
        taken = [hold for hold in orphans if wanted(hold.message)]
        if taken or len(orphans) < len(self._orphans):
            self._orphans = deque(hold for hold in orphans if not wanted(hold.message))
        for hold in taken:
            hold.waiting = 1
        return taken

    def _release(self, hold: Hold) -> None:
        hold.done = True
        self.count -= 1
        self.bytes -= len(hold.message.payload)
        publisher = hold.publisher
        if publisher is not None:
            publisher.held -= 1
            publisher.released()
        if self._was_full and not self.full:
            self._was_full = False
            self._made_room()
