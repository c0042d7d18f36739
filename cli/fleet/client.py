"""MQTT connections in great number, by paho in one thread: a `Line` is one connection, the `Poller` serves all of them.

The only file of the fleet that knows paho. MQTT 3.1.1, since every broker speaks it; what was not confirmed when a connection
ended is sent again, byte for byte, by the next one of the same line.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import Any, Protocol, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from broker.mqtt_link import broker_address
from models.errors import LinkLost

log = logging.getLogger(__name__)

_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_CONNECT_TIMEOUT_S = 5.0
_CONNACK_TIMEOUT_S = 30.0
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: close() sends a TCP reset."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the broker is."""

    host: str
    port: int
    path: str | None = None
    """The path of a WebSocket; None means TCP."""
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the endpoint that URL names, or raise `BadSetting`."""
        parts = broker_address(url)
        path = (parts.path or "/mqtt") if parts.scheme in ("ws", "wss") else None
        tls = ssl.create_default_context() if parts.scheme in ("mqtts", "wss") else None
        return cls(parts.hostname or "", parts.port or _PORTS[parts.scheme], path, tls)


class Owner(Protocol):
    """Who is told what becomes of a line, in the thread that polls."""

    def opened(self) -> None:
        """The broker has accepted the connection."""

    def refused(self, reason: str) -> None:
        """The broker has refused the connection; `lost` follows."""

    def lost(self) -> None:
        """The connection, or the attempt at one, has ended, for whatever reason."""

    def confirmed(self) -> None:
        """The broker has confirmed one message."""


class Poller:
    """Waits for the sockets of all lines at once."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[Line, Any] = {}
        self._unwritten: set[Line] = set()
        self._blocked: set[Line] = set()

    def poll(self, timeout_s: float) -> None:
        """Write and read what can be written and read, waiting for at most TIMEOUT_S."""
        self._write_all()
        for key, mask in self._selector.select(timeout_s):
            line: Line = key.data
            # A line that came earlier in this round may have been closed since.
            if mask & _WRITE and line in self._sockets:
                self._write(line)
            if mask & _READ and line in self._sockets:
                line.read()
        self._write_all()

    def close(self) -> None:
        self._selector.close()

    def watch(self, line: Line, sock: Any) -> None:  # noqa: ANN401 paho's sockets are of several types
        self.forget(line)
        self._sockets[line] = sock
        self._selector.register(sock, _READ, line)

    def forget(self, line: Line) -> None:
        self._unwritten.discard(line)
        self._blocked.discard(line)
        sock = self._sockets.pop(line, None)
        if sock is not None:
            self._selector.unregister(sock)

    def has_unwritten(self, line: Line) -> None:
        self._unwritten.add(line)

    def _write_all(self) -> None:
        """Write what was queued since; only what the system would not take at once is left to the selector."""
        while self._unwritten:
            line = self._unwritten.pop()
            if line in self._sockets:
                self._write(line)

    def _write(self, line: Line) -> None:
        blocked = line.write()
        sock = self._sockets.get(line)  # writing may have found the connection gone
        if sock is not None and blocked != (line in self._blocked):
            self._selector.modify(sock, _READ | _WRITE if blocked else _READ, line)
            (self._blocked.add if blocked else self._blocked.discard)(line)


class Line:
    """One MQTT connection after another, all under one client id."""

    def __init__(
        self, poller: Poller, endpoint: Endpoint, client_id: str, owner: Owner, *, window: int, keepalive_s: int
    ) -> None:
        self.window = window
        self.outstanding = 0
        """Messages that the broker has not confirmed yet."""
        self.is_open = False
        self._poller, self._endpoint, self._owner = poller, endpoint, owner
        self._keepalive_s = keepalive_s
        self._connecting_since_s: float | None = None
        self._leave_by_s: float | None = None
        self._paused = False
        self._client = self._new_client(client_id)

    def _new_client(self, client_id: str) -> paho.Client:
        endpoint = self._endpoint
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=True,
            transport="tcp" if endpoint.path is None else "websockets",
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(0)  # the window is kept here
        if endpoint.tls is not None:
            client.tls_set_context(endpoint.tls)
        if endpoint.path is not None:
            client.ws_set_options(path=endpoint.path)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_socket_open = lambda _client, _data, sock: self._poller.watch(self, sock)
        client.on_socket_close = lambda _client, _data, _sock: self._poller.forget(self)
        client.on_socket_register_write = lambda _client, _data, _sock: self._poller.has_unwritten(self)
        client.on_socket_unregister_write = lambda _client, _data, _sock: None
        return client

    @property
    def room(self) -> int:
        """How many messages the line takes before the next confirmation."""
        return self.window - self.outstanding if self.is_open and self._leave_by_s is None else 0

    def connect(self, username: str, token: str, will: tuple[str, bytes] | None = None) -> None:
        """Open a connection with WILL (topic, payload); raise `LinkLost` when nobody answers.

        Username, token and will are those of this one CONNECT, so that a will names the session that it ends.
        """

        def prepare(client: paho.Client, _data: object) -> None:
            client.username_pw_set(username, token)
            if will is not None:
                client.will_set(*will, qos=1)

        self._client.on_pre_connect = prepare
        self._connecting_since_s, self._leave_by_s, self._paused = time.monotonic(), None, False
        try:
            self._client.connect(self._endpoint.host, self._endpoint.port, self._keepalive_s)
        except OSError as error:
            self._connecting_since_s = None
            at = f"{self._endpoint.host}:{self._endpoint.port}"
            raise LinkLost(f"no broker answers at {at}: {error.strerror or error}") from None

    def publish(self, topic: str, payload: bytes) -> None:
        """Send one message at QoS 1."""
        self.outstanding += 1
        self._client.publish(topic, payload, qos=1)

    def leave(self, by_s: float) -> None:
        """DISCONNECT as soon as all is confirmed, at the latest at BY_S of the monotonic clock."""
        self._leave_by_s = by_s
        self._leave_if_done()

    def abort(self) -> None:
        """Break the connection with a TCP reset, so that the broker publishes the will [MQTT-3.1.2-8]."""
        sock = self._client.socket()
        if sock is None:
            return
        with socket.socket(fileno=os.dup(sock.fileno())) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._poller.forget(self)
        sock.close()
        self._client.loop_read()  # paho finds the socket closed

    def pause(self) -> None:
        """Neither read nor write nor ping until `resume`."""
        self._paused = True
        self._poller.forget(self)

    def resume(self) -> None:
        self._paused = False
        sock = self._client.socket()
        if sock is not None:
            self._poller.watch(self, sock)
            self._poller.has_unwritten(self)

    def tend(self, now_s: float) -> None:
        """Do what time asks for: ping, give up a broker that does not answer, leave; to be called every second or so."""
        if self._paused:
            return
        self._client.loop_misc()
        self._leave_if_done()
        if self._connecting_since_s is not None and now_s > self._connecting_since_s + _CONNACK_TIMEOUT_S:
            self.abort()

    def read(self) -> None:
        self._client.loop_read()
        # A TLS record may hold more packets than were read; the selector does not see those.
        sock = self._client.socket()
        while isinstance(sock, ssl.SSLSocket) and sock.pending():
            self._client.loop_read()
            sock = self._client.socket()

    def write(self) -> bool:
        """Write what is queued; return whether some of it is left."""
        self._client.loop_write()
        return self._client.want_write()

    def _leave_if_done(self) -> None:
        if self._leave_by_s is not None and (not self.outstanding or time.monotonic() >= self._leave_by_s):
            self._client.disconnect()

    def _on_connect(
        self, _client: paho.Client, _data: object, _flags: paho.ConnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        self._connecting_since_s = None
        if reason.is_failure:
            self._owner.refused(str(reason))
            return
        self.is_open = True
        self._owner.opened()

    def _on_disconnect(
        self, _client: paho.Client, _data: object, _flags: paho.DisconnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        self.is_open, self._connecting_since_s = False, None
        log.debug("a connection ended: %s", reason, extra={"action": "fleet_connection_ended"})
        self._owner.lost()

    def _on_publish(
        self, _client: paho.Client, _data: object, _mid: int, _reason: ReasonCode, _properties: object
    ) -> None:
        self.outstanding -= 1
        self._owner.confirmed()
        self._leave_if_done()
