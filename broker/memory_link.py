"""A link without a network: for tests and dry runs. It passes the same contract as the real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from queue import Empty, SimpleQueue

from broker.inbox import Receipts
from broker.link import Delivery, Spell
from models.topics import matches


class _Taken:
    """The confirmation of a broker that is always there."""

    def wait(self, timeout_s: float) -> bool:  # noqa: ARG002 there is nothing to wait for
        return True


class MemoryLink:
    """Keeps what is published, delivers what `send` is given, and again what was not acknowledged."""

    def __init__(self, receipts: Receipts | None = None) -> None:
        self._receipts = receipts or Receipts()
        self._arrivals: SimpleQueue[tuple[str, bytes, bool] | None] = SimpleQueue()
        self._unacked: dict[int, tuple[str, bytes, bool]] = {}
        self._count = 0
        self.spell: Spell | None = Spell(datetime.now(UTC), resumed=False)
        self.published: list[tuple[str, bytes, bool]] = []

    def send(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Act as a device."""
        self._arrivals.put((topic, payload, retained))

    @property
    def unacked(self) -> int:
        return len(self._unacked)

    def deliveries(self, filters: Sequence[str], idle_s: float) -> Iterator[Delivery | None]:
        for number, message in list(self._unacked.items()):
            del self._unacked[number]
            yield self._delivery(message)
        while True:
            try:
                arrived = self._arrivals.get(timeout=idle_s)
            except Empty:
                yield None
                continue
            if arrived is None:
                return
            if any(matches(pattern, arrived[0]) for pattern in filters):
                yield self._delivery(arrived)
            if self._arrivals.empty():
                yield None

    def _delivery(self, message: tuple[str, bytes, bool]) -> Delivery:
        self._count += 1
        number = self._count
        self._unacked[number] = message
        topic, payload, retained = message
        return Delivery(topic, payload, self._receipts.next(), lambda: self._ack(number), retained)

    def _ack(self, number: int) -> None:
        self._unacked.pop(number, None)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> _Taken:
        self.published.append((topic, payload, retain))
        return _Taken()

    def close(self) -> None:
        self._arrivals.put(None)
