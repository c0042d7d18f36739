"""The byte stream of a connection, over TCP or over WebSocket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from websockets.exceptions import ConnectionClosed

from broker.embedded.frames import Malformed

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

CHUNK: Final = 64 * 1024
_LINGER_S: Final = 5.0


class Wire(Protocol):
    """Bytes in, bytes out."""

    async def read(self) -> bytes:
        """Return what has arrived, waiting for some; nothing at the end. Raise `OSError` when the peer is lost."""

    def write(self, data: bytes) -> None:
        """Queue DATA."""

    def queued(self) -> int:
        """Return how many bytes wait for the peer to read."""

    async def drain(self) -> None:
        """Wait until few bytes wait."""

    def abort(self) -> None:
        """Close at once, and throw away what is queued."""

    def close(self) -> None:
        """Close when what is queued has been sent."""


class TcpWire:
    """A TCP or TLS socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        data = await self._reader.read(CHUNK)
        if len(data) == CHUNK:
            await asyncio.sleep(0)  # a flood takes turns with everybody else
        return data

    def write(self, data: bytes) -> None:
        if not self._writer.transport.is_closing():  # the reading side has not yet learned that the peer is gone
            self._writer.write(data)

    def queued(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    async def drain(self) -> None:
        await self._writer.drain()

    def abort(self) -> None:
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()
        if self.queued():
            # The peer may never read it, and a socket that nobody counts any more must not stay.
            asyncio.get_running_loop().call_later(_LINGER_S, self.abort)


class WebSocketWire:
    """A WebSocket, whose binary messages are pieces of the stream in any cut [MQTT-6.0.0-1, MQTT-6.0.0-2]."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket
        self._waiting = bytearray()
        self._sender: asyncio.Task[None] | None = None
        self._closing = False

    async def read(self) -> bytes:
        try:
            while True:
                data = await self._socket.recv()
                if isinstance(data, str):
                    raise Malformed("WebSocket text frame")
                if data:
                    return data
        except ConnectionClosed:
            return b""

    def write(self, data: bytes) -> None:
        self._waiting += data
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send(), name="embedded-broker-websocket-send")

    async def _send(self) -> None:
        try:
            while self._waiting:
                data = bytes(self._waiting)
                self._waiting.clear()
                await self._socket.send(data)
            if self._closing:
                await self._socket.close()
        except (ConnectionClosed, OSError):
            self._waiting.clear()

    def queued(self) -> int:
        return len(self._waiting) + self._socket.transport.get_write_buffer_size()

    async def drain(self) -> None:
        if self._sender is not None:
            await asyncio.shield(self._sender)

    def abort(self) -> None:
        self._waiting.clear()
        self._socket.transport.abort()

    def close(self) -> None:
        self._closing = True
        self.write(b"")
