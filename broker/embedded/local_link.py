"""The link of a service in the broker's own process: no socket, no packets, the same promises."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from broker import access
from broker.access import Claims, Role
from broker.embedded.counters import Drop
from broker.embedded.exchange import Exchange
from broker.embedded.holds import Hold
from broker.embedded.messages import Message
from broker.embedded.server import EmbeddedBroker
from broker.link import Confirmation, Delivery, Spell
from models.errors import BadTopic, LinkLost

_CLAIMS: Final = Claims("fieldbeat", "local", Role.SERVICE, datetime.max.replace(tzinfo=UTC))
_TICK: Final = timedelta(microseconds=1)
_PUBLISH_AT_ONCE: Final = 500


class _Entry:
    """One message that is not acknowledged yet."""

    __slots__ = ("hold", "message", "received_at", "retained")

    def __init__(self, message: Message, received_at: datetime, hold: Hold | None, *, retained: bool) -> None:
        self.message = message
        self.received_at = received_at
        self.hold = hold
        self.retained = retained


_Chunks = SimpleQueue[list[_Entry] | None]


class _Consumer:
    """The link's side in the broker's thread: a subscriber whose queue another thread reads in chunks."""

    local = True

    def __init__(self, exchange: Exchange, capacity: int, clock: Callable[[], datetime]) -> None:
        self.claims = _CLAIMS
        self.filters: dict[str, int] = {}
        self._exchange = exchange
        self._capacity = capacity
        self._clock = clock
        self._last = datetime.min.replace(tzinfo=UTC)
        self._unacknowledged: dict[_Entry, None] = {}
        self._loose = 0
        self._fresh: list[_Entry] = []
        self._chunks: _Chunks = SimpleQueue()

    def offer(self, message: Message, qos: int, hold: Hold | None) -> None:  # noqa: ARG002 a process loses nothing on the way
        """Queue MESSAGE. What is held is bounded where it is held; of the rest, what is too much is dropped."""
        if hold is None and self._loose >= self._capacity:
            self._exchange.counters.dropped[Drop.QUEUE_FULL] += 1
            return
        self._add(message, hold, retained=False)

    def _add(self, message: Message, hold: Hold | None, *, retained: bool) -> None:
        self._last = max(self._clock(), self._last + _TICK)
        entry = _Entry(message, self._last, hold, retained=retained)
        self._unacknowledged[entry] = None
        self._loose += hold is None
        if not self._fresh:
            self._exchange.touch(self)
        self._fresh.append(entry)

    def flush(self) -> None:
        """Pass the gathered messages over, with one lock for all of them."""
        if self._fresh:
            self._exchange.counters.messages_out += len(self._fresh)
            fresh, self._fresh = self._fresh, []
            self._chunks.put(fresh)

    def subscribe(self, filters: Sequence[str]) -> _Chunks:
        """Return a new queue: retained messages, what is unacknowledged from before, then what comes."""
        exchange = self._exchange
        self.flush()
        before = list(self._unacknowledged)
        self._chunks = SimpleQueue()
        for pattern in set(self.filters) - set(filters):
            exchange.router.unsubscribe(self, pattern)
        self.filters = dict.fromkeys(filters, 1)
        if self not in exchange.links:
            exchange.links.append(self)
        for pattern in self.filters:
            exchange.router.subscribe(self, pattern, 1)
            for message in exchange.retained.select(pattern):
                self._add(message, None, retained=True)
        self.flush()
        if before:
            self._chunks.put(before)
        for pattern in self.filters:
            exchange.adopt(self, pattern)
        exchange.flush()
        return self._chunks

    def acknowledge(self, entries: deque[_Entry]) -> None:
        """Acknowledge ENTRIES to the publishers; late ones, after `leave`, count too: they are stored."""
        while entries:
            entry = entries.popleft()
            if entry in self._unacknowledged:
                del self._unacknowledged[entry]
                self._loose -= entry.hold is None
            hold, entry.hold = entry.hold, None
            if hold is not None:
                self._exchange.holds.acknowledge(hold)
        self._exchange.flush()

    def leave(self) -> None:
        """Unsubscribe; what is not acknowledged waits for the next consumer."""
        exchange = self._exchange
        for pattern in self.filters:
            exchange.router.unsubscribe(self, pattern)
        self.filters = {}
        if self in exchange.links:
            exchange.links.remove(self)
        for entry in self._unacknowledged:
            if entry.hold is not None:
                exchange.holds.give_back(entry.hold)
        self._unacknowledged.clear()
        exchange.rehome()
        self._chunks.put(None)


class _Taken:
    """A confirmation that many messages share one lock for."""

    __slots__ = ("_changed", "done")

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self.done = False

    def wait(self, timeout_s: float) -> bool:
        """Whether the broker has taken the message, waiting for at most TIMEOUT_S."""
        if self.done:
            return True
        with self._changed:
            return self._changed.wait_for(lambda: self.done, timeout_s)


class LocalLink:
    """A `broker.link.Link` to a BROKER that has been started. At most CAPACITY messages wait each way.

    Messages that devices wait for are bounded by the broker's own limits instead, and none of them is dropped.
    """

    def __init__(
        self,
        broker: EmbeddedBroker,
        *,
        capacity: int = 10_000,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._broker = broker
        self._exchange = broker.exchange
        self._capacity = capacity
        self._consumer = _Consumer(self._exchange, capacity, clock)
        self._acknowledged: deque[_Entry] = deque()
        self._collecting = False
        self._outgoing: deque[tuple[str, bytes, bool, _Taken]] = deque()
        self._sending = False
        self._changed = threading.Condition()
        self._closed = threading.Event()
        # A broker that has served a link keeps what that one published and left unacknowledged.
        self._spell = Spell(clock(), resumed=broker.ask(self._exchange.link_opened))

    @property
    def spell(self) -> Spell | None:
        """The life of the link, for the broker is never out of reach before it stops."""
        return self._spell if self._broker.running and not self._closed.is_set() else None

    def deliveries(self, filters: Sequence[str], idle_s: float) -> Iterator[Delivery | None]:
        """Yield what FILTERS select, None when no more are waiting and then every IDLE_S seconds; end when the link is closed."""
        if self._closed.is_set():
            return
        chunks = self._broker.ask(partial(self._consumer.subscribe, tuple(filters)))
        while not self._closed.is_set():
            try:
                chunk = chunks.get(timeout=idle_s)
            except Empty:
                yield None
                continue
            for entry in chunk or ():
                if self._closed.is_set():
                    return
                message = entry.message
                ack = partial(self._ack, entry)
                yield Delivery(message.topic, message.payload, entry.received_at, ack, entry.retained)
            if chunks.empty():
                yield None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Confirmation:
        """Hand one message to the broker; raise `LinkLost` when the queue is full or the link closed."""
        if not access.may_publish(_CLAIMS, topic):
            raise BadTopic(f"the service may not publish to {topic[:120]!r}")
        if self._closed.is_set() or not self._broker.running:
            raise LinkLost("the embedded broker has been stopped, or the link closed")
        if len(self._outgoing) >= self._capacity:
            raise LinkLost(f"{self._capacity} messages wait for the embedded broker")
        taken = _Taken(self._changed)
        self._outgoing.append((topic, payload, retain, taken))
        if not self._sending:
            self._sending = True
            self._broker.call(self._send)
        return taken

    def close(self) -> None:
        """End `deliveries`, and let the broker take what is queued."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._broker.running:
            self._broker.ask(self._leave)

    def _ack(self, entry: _Entry) -> None:
        self._acknowledged.append(entry)
        if not self._collecting:
            self._collecting = True
            self._broker.call(self._collect)

    # In the broker's thread

    def _collect(self) -> None:
        # First the flag: an acknowledgement that comes from here on asks for another turn.
        self._collecting = False
        self._consumer.acknowledge(self._acknowledged)

    def _send(self) -> None:
        self._sending = False
        taken = [self._publish(*self._outgoing.popleft()) for _ in range(min(len(self._outgoing), _PUBLISH_AT_ONCE))]
        self._exchange.flush()
        with self._changed:
            for each in taken:
                each.done = True
            self._changed.notify_all()
        if self._outgoing and not self._sending:
            self._sending = True
            self._broker.call(self._send)

    def _publish(self, topic: str, payload: bytes, retain: bool, taken: _Taken) -> _Taken:
        exchange = self._exchange
        exchange.counters.messages_in += 1
        route = exchange.router.route(topic)
        exchange.publish(route, Message(topic, route.topic_string, payload, 1), None, b"", retain=retain)
        return taken

    def _leave(self) -> None:
        while self._outgoing:
            self._send()
        self._collect()
        self._consumer.leave()
        self._exchange.flush()
