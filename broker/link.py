"""All that the pipe knows of a broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from msgspec import Struct


class Delivery(Struct, frozen=True, gc=False):
    """One message from the broker. `ack` is called once, after what the message says has been committed."""

    topic: str
    payload: bytes
    received_at: datetime
    ack: Callable[[], None]
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Spell:
    """An unbroken time of being connected. `resumed` is false when the broker kept nothing of our last session."""

    since: datetime
    resumed: bool


class Confirmation(Protocol):
    """What became of one published message."""

    def wait(self, timeout_s: float) -> bool:
        """Whether the broker has taken the message, waiting for at most TIMEOUT_S."""


class Link(Protocol):
    """A broker, as the pipe sees it. Every method may be called from any thread."""

    @property
    def spell(self) -> Spell | None:
        """The present spell, or None while the broker is out of reach."""

    def deliveries(self, filters: Sequence[str], idle_s: float) -> Iterator[Delivery | None]:
        """Yield each message that FILTERS select; yield None when no more are waiting, then every IDLE_S seconds; end when closed.

        What is not acknowledged is delivered again in a later spell.
        """

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Confirmation:
        """Hand one message to the broker at QoS 1; raise `LinkLost` when it cannot even be queued."""

    def close(self) -> None:
        """End `deliveries`, hand out what is queued, and disconnect without a will."""
