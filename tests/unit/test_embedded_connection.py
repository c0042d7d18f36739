"""A connection over a wire that is not there: what it does when its peer does not read, and in which order it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime

from broker.access import Claims, Role
from broker.embedded.connect import Connect
from broker.embedded.connection import Connection
from broker.embedded.counters import Closing
from broker.embedded.exchange import Exchange
from broker.embedded.limits import Limits
from broker.embedded.writer import HIGH_WATER
from tests.integration.raw_mqtt import PING, publish

CLAIMS = Claims("acme", "alice", Role.DEVICE, datetime.max.replace(tzinfo=UTC))


class FakeWire:
    """A peer that sends CHUNKS and reads nothing while `stuck`."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.written: list[bytes] = []
        self.stuck = False
        self.freed = asyncio.Event()
        self.end = asyncio.Event()

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        if self.chunks:
            return self.chunks.pop(0)
        await self.end.wait()
        return b""

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def queued(self) -> int:
        return HIGH_WATER + 1 if self.stuck else 0

    async def drain(self) -> None:
        await self.freed.wait()

    def abort(self) -> None:
        self.end.set()

    def close(self) -> None:
        self.end.set()


def connected(wire: FakeWire, *, hold_pubacks: bool = False) -> tuple[Connection, Exchange]:
    exchange = Exchange(Limits(), hold_pubacks=hold_pubacks)
    connection = Connection(wire, exchange)
    connect = Connect("acme:alice", clean_session=True, keepalive_s=60)
    opened = exchange.open_session(connect, "acme:alice", CLAIMS)
    assert isinstance(opened, tuple)
    connection.begin(connect, opened[0], session_present=False)
    return connection, exchange


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(scenario())


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def test_a_peer_that_does_not_read_its_answers_is_not_read_either() -> None:
    async def scenario() -> None:
        wire = FakeWire(*[PING * 1000] * 20)
        connection, _ = connected(wire)
        wire.stuck = True
        running = asyncio.create_task(connection.run(), name="connection")
        await settle()
        assert len(wire.chunks) > 10
        wire.stuck = False
        wire.freed.set()
        await settle()
        assert not wire.chunks
        assert b"".join(wire.written).count(b"\xd0\x00") == 20_000
        wire.end.set()
        await running

    run(scenario)


def test_a_burst_is_answered_with_one_write() -> None:
    async def scenario() -> None:
        wire = FakeWire(b"".join(publish("company/acme/presence/alice", b"x", 1, each) for each in range(1, 101)))
        connection, _ = connected(wire)
        running = asyncio.create_task(connection.run(), name="connection")
        await settle()
        assert len(wire.written) == 2
        assert wire.written[1] == b"".join(b"\x40\x02" + each.to_bytes(2, "big") for each in range(1, 101))
        wire.end.set()
        await running

    run(scenario)


def test_the_end_is_told_once() -> None:
    async def scenario() -> None:
        wire = FakeWire()
        connection, exchange = connected(wire)
        connection.finish(Closing.KEEPALIVE)
        connection.finish(Closing.LOST)
        await connection.run()
        assert exchange.counters.closed[Closing.KEEPALIVE] == 1
        assert exchange.counters.closed.total() == 1
        assert len(exchange.sessions) == 0

    run(scenario)
