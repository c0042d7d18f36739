"""The pipe without a network, for tests: a worker and an outbox over a link and a store that fail when they are told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Engine

from broker.link import Confirmation, Delivery, Spell
from broker.memory_link import MemoryLink
from ingest.metrics import Metrics
from ingest.outbox import Outbox
from ingest.store import Outcome, Store, Written
from ingest.worker import Worker
from models.errors import LinkLost, StoreFailed, StoreRefused
from tests.integration.store_lab import SESSIONS, TERMS

PRESENCE = "company/acme/presence/alice"
STATE = "company/acme/state/alice"
EVENTS = "company/acme/events/alice"
S0, S1 = SESSIONS[:2]
WITHIN_S = 10.0


def now() -> datetime:
    return datetime.now(UTC)


class _Unconfirmed:
    def wait(self, timeout_s: float) -> bool:  # noqa: ARG002 nothing will come
        return False


class FlakyLink:
    """A link that loses what is published, or the broker altogether, when a test says so."""

    def __init__(self) -> None:
        self._inner = MemoryLink()
        self.spell: Spell | None = self._inner.spell
        self.refuses: Callable[[str], bool] = lambda _topic: False
        self.forgets: Callable[[str], bool] = lambda _topic: False

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Confirmation:
        if self.refuses(topic):
            raise LinkLost("the broker has gone")
        confirmation = self._inner.publish(topic, payload, retain=retain)
        return _Unconfirmed() if self.forgets(topic) else confirmation

    @property
    def published(self) -> list[tuple[str, bytes, bool]]:
        return self._inner.published

    @property
    def unacked(self) -> int:
        return self._inner.unacked

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on its way, and all that was taken is acknowledged."""
        return self._inner.unacked == 0 and self._inner._arrivals.empty()

    def send(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        self._inner.send(topic, payload, retained=retained)

    def deliveries(self, filters: Sequence[str], idle_s: float) -> Iterator[Delivery | None]:
        return self._inner.deliveries(filters, idle_s)

    def close(self) -> None:
        self._inner.close()


class FlakyStore(Store):
    """A store that fails, or refuses, when a test says so."""

    failures = 0
    refuses: Callable[[Sequence[Outcome]], bool] = staticmethod(lambda _outcomes: False)

    def write(self, outcomes: Iterable[Outcome], now: datetime) -> Written:
        outcomes = list(outcomes)
        if self.failures:
            self.failures -= 1
            raise StoreFailed("the disk is full")
        if self.refuses(outcomes):
            raise StoreRefused("the database refuses the batch: a poison row")
        return super().write(outcomes, now)


class Pipe:
    """One link, one store, and an outbox that the test drives; each worker is a new one."""

    def __init__(
        self,
        engine: Engine,
        link: FlakyLink | None = None,
        *,
        interval_s: float = 0.0,
        holder: str = "me",
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.engine = engine
        self.link = link or FlakyLink()
        self.store = FlakyStore(engine, TERMS)
        self.metrics = Metrics()
        self.outbox = Outbox(self.store, self.link, holder, "1.0", interval_s, clock)

    def send(self, user: str = "alice", channel: str = "presence", **fields: Any) -> None:  # noqa: ANN401 JSON
        self.link.send(f"company/acme/{channel}/{user}", msgspec.json.encode(fields))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the worker in a thread until the end of the block."""
        worker = Worker(self.link, self.store, self.outbox, self.metrics, now)
        thread = threading.Thread(target=worker.run, name="worker")
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join(WITHIN_S)
            assert not thread.is_alive()

    def settle(self) -> None:
        """Let the worker take all that is waiting."""
        with self.running():
            wait_until(lambda: self.link.is_empty)

    def published(self, topic: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(payload) for where, payload, _ in self.link.published if where == topic]


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.002)


def types(announced: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in announced]
