"""amqtt's broker as we use it: its listeners and its start and stop; what arrives is served by ours.

It relies on private names of amqtt 0.12.1; tests/unit/test_embedded_amqtt.py names each.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import websockets.asyncio.server
from amqtt.broker import Broker
from amqtt.contexts import ListenerType
from websockets.typing import Subprotocol

from broker.embedded.wires import TcpWire, WebSocketWire, Wire

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

AMQTT_VERSION: Final = "0.12.1"
_BACKLOG: Final = 4_096
"""Connections that wait in the kernel: a fleet that comes back at once."""
_ACCEPT_AT_ONCE: Final = 128
"""asyncio accepts as many as its backlog before it serves any, and those would all be strangers for too long."""
_WEBSOCKET_MAX_FRAME: Final = 1024 * 1024

Serve = Callable[[Wire], Awaitable[None]]


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise `OSError` when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    # Accepted connections inherit it; asyncio sets it only on sockets that name their protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class Listeners(Broker):  # type: ignore[misc]  # amqtt's types are not looked at
    """Listens on SOCKETS (`default` is TCP, `ws` WebSocket) and hands each connection to SERVE."""

    def __init__(self, sockets: Mapping[str, socket.socket], serve: Serve, handshake_timeout_s: float) -> None:
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.WARNING)  # each step of their state machines is of no interest
        super().__init__({"listeners": {name: _listener(name, each) for name, each in sockets.items()}, "plugins": {}})
        self._sockets = sockets
        self._serve = serve
        self._handshake_timeout_s = handshake_timeout_s

    async def _create_server_instance(
        self,
        listener_name: str,
        listener_type: ListenerType,
        address: str | None,  # noqa: ARG002 the socket is bound already
        port: int,  # noqa: ARG002 the socket is bound already
        ssl_context: ssl.SSLContext | None,
    ) -> asyncio.Server | websockets.asyncio.server.Server:
        """Listen on the socket that is bound already."""
        listening = self._sockets[listener_name]
        server: asyncio.Server | websockets.asyncio.server.Server
        if listener_type is ListenerType.TCP:
            server = await self._tcp_server(listener_name, ssl_context)
        else:
            server = await self._websocket_server(listener_name, ssl_context)
        listening.listen(_BACKLOG)
        return server

    async def _tcp_server(self, name: str, ssl_context: ssl.SSLContext | None) -> asyncio.Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.stream_connected(reader, writer, name)

        return await asyncio.start_server(accept, sock=self._sockets[name], backlog=_ACCEPT_AT_ONCE, ssl=ssl_context)

    async def _websocket_server(
        self, name: str, ssl_context: ssl.SSLContext | None
    ) -> websockets.asyncio.server.Server:
        async def accept(websocket: ServerConnection) -> None:
            await self.ws_connected(websocket, name)

        return await websockets.asyncio.server.serve(
            accept,
            sock=self._sockets[name],
            backlog=_ACCEPT_AT_ONCE,
            ssl=ssl_context,
            subprotocols=[Subprotocol("mqtt")],
            max_size=_WEBSOCKET_MAX_FRAME,
            compression=None,
            ping_interval=None,  # MQTT's keep alive is enough
            open_timeout=self._handshake_timeout_s,
            close_timeout=1,
            logger=_quiet(),
        )

    async def stream_connected(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        listener_name: str,  # noqa: ARG002 amqtt's signature
    ) -> None:
        """Serve a TCP connection."""
        await self._serve(TcpWire(reader, writer))

    async def ws_connected(self, websocket: ServerConnection, listener_name: str) -> None:  # noqa: ARG002 amqtt's signature
        """Serve a WebSocket."""
        wire = WebSocketWire(websocket)
        await self._serve(wire)
        await (
            wire.drain()
        )  # the socket is closed on return, and the answer to a refused CONNECT may still be on its way


def _listener(name: str, listening: socket.socket) -> dict[str, Any]:
    host, port = listening.getsockname()[:2]
    return {"type": "ws" if name == "ws" else "tcp", "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}"}


def _quiet() -> logging.Logger:
    """Return a logger that says nothing of failed handshakes, which anybody can cause, with a stack trace each."""
    logger = logging.getLogger(f"{__name__}.websocket")
    logger.setLevel(logging.CRITICAL)
    return logger
