"""What a connection has to write: replies, acknowledgements in the order of their messages, and what its session has queued."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from broker.embedded.exchange import Exchange
from broker.embedded.holds import Hold
from broker.embedded.messages import Message
from broker.embedded.sessions import Session
from broker.embedded.wires import Wire

HIGH_WATER: Final = 64 * 1024
"""Bytes that may wait for the peer to read; what is more stays in the session's queue."""
_MAX_REPLIES: Final = 2_000


class Writer:
    """Writes to WIRE when EXCHANGE comes round; READS_AGAIN is called when a peer that did not keep up has caught up."""

    def __init__(self, wire: Wire, exchange: Exchange, reads_again: Callable[[], None]) -> None:
        self._wire = wire
        self._exchange = exchange
        self._reads_again = reads_again
        self._session: Session | None = None
        self._replies: list[bytes] = []
        self._answers: deque[Hold] = deque()
        """What has to be answered in the order it came [MQTT-4.6.0-2, MQTT-4.6.0-3], when the first has to wait."""
        self._dirty = False
        self._drain: asyncio.Task[None] | None = None
        self._ended = False
        self.stuck_since: float | None = None

    @property
    def crowded(self) -> bool:
        """Whether the peer leaves more replies unread than it may."""
        return len(self._replies) > _MAX_REPLIES and self._drain is not None

    def begin(self, session: Session, packets: Iterable[bytes]) -> None:
        """Write PACKETS first, and then what SESSION has."""
        self._session = session
        self._replies += packets
        self.touch()

    def end(self) -> None:
        """Write nothing more."""
        self._ended = True

    def reply(self, packet: bytes) -> None:
        self._replies.append(packet)
        self.touch()

    def answer(self, packet: bytes) -> None:
        """Acknowledge a message, after those that came before it."""
        if self._answers:
            done = Hold(Message("", b"", b"", 0), None, packet, 0)
            done.done = True
            self._answers.append(done)
        else:
            self.reply(packet)

    def answer_later(self, hold: Hold) -> None:
        """Acknowledge the message of HOLD in its turn, when the service has stored it."""
        self._answers.append(hold)

    def release(self) -> None:
        """Acknowledge what the service has stored, in the order it came."""
        answers = self._answers
        while answers and answers[0].done:
            self.reply(answers.popleft().answer)

    def touch(self) -> None:
        """Send soon what is queued."""
        if not self._dirty:
            self._dirty = True
            self._exchange.touch(self)

    def flush(self) -> None:
        """Write replies and messages, until the peer has enough to read."""
        self._dirty = False
        session = self._session
        while not self._ended and self._drain is None and session is not None:
            packets, self._replies = self._replies + session.take(HIGH_WATER), []
            if not packets:
                return
            self._wire.write(b"".join(packets))
            if self._wire.queued() > HIGH_WATER:
                self.stuck_since = time.monotonic()
                name = f"embedded-broker-drain-{session.client_id}"
                self._drain = asyncio.create_task(self._drained(), name=name)

    async def _drained(self) -> None:
        try:
            await self._wire.drain()
        except OSError:
            return  # the reading side learns of it too, and ends the connection
        self._drain, self.stuck_since = None, None
        self.flush()
        self._reads_again()
