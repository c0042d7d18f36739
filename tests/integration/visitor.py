"""A client with a token, over MQTT 3.1.1 or 5, TCP, TLS or WebSocket, that waits for each answer."""

from __future__ import annotations

import queue
import socket
from pathlib import Path
from typing import NamedTuple, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WAIT_S = 10.0
V4, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5


class Received(NamedTuple):
    """One message."""

    topic: str
    payload: str


class Visitor:
    """One connection, for a `with` block. KEEP asks for a session that outlives it."""

    def __init__(
        self,
        port: int,
        client_id: str,
        username: str,
        token: str | None,
        *,
        version: MQTTProtocolVersion = V5,
        websocket: bool = False,
        ca_file: Path | None = None,
        keep: bool = False,
        will: tuple[str, str] | None = None,
    ) -> None:
        self._port = port
        self._version = version
        self._keep = keep
        self._answers: queue.Queue[tuple[int, bool]] = queue.Queue()
        self._grants: queue.Queue[bool] = queue.Queue()
        self._taken: queue.Queue[bool] = queue.Queue()
        self._received: queue.Queue[Received] = queue.Queue()
        self._ends: queue.Queue[int] = queue.Queue()
        clean = {} if version == V5 else {"clean_session": not keep}
        self._client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=version,
            transport="websockets" if websocket else "tcp",
            reconnect_on_failure=False,
            **clean,
        )
        client.username_pw_set(username, token)
        if ca_file is not None:
            client.tls_set(str(ca_file))
        if will is not None:
            client.will_set(*will, qos=1)
        client.on_connect = lambda _c, _u, flags, code, _p: self._answers.put((code.value, flags.session_present))
        client.on_subscribe = lambda _c, _u, _m, codes, _p: self._grants.put(not codes[0].is_failure)
        client.on_publish = lambda _c, _u, _m, code, _p: self._taken.put(not code.is_failure)
        client.on_message = lambda _c, _u, message: self._received.put(
            Received(message.topic, message.payload.decode())
        )
        client.on_disconnect = lambda _c, _u, _f, code, _p: self._ends.put(code.value)
        self.code = -1
        self.resumed = False

    def __enter__(self) -> Self:
        if self._version == V5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves it untyped
            properties.SessionExpiryInterval = 600 if self._keep else 0
            self._client.connect("localhost", self._port, clean_start=not self._keep, properties=properties)
        else:
            self._client.connect("localhost", self._port)
        self._client.loop_start()
        self.code, self.resumed = self._answers.get(timeout=WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        connection = self._client.socket()
        if connection is not None:  # paho closes it only when it got to write its DISCONNECT
            connection.close()

    @property
    def accepted(self) -> bool:
        return self.code == 0

    def subscribe(self, pattern: str) -> bool:
        """Whether the broker grants PATTERN."""
        self._client.subscribe(pattern, 1)
        return self._grants.get(timeout=WAIT_S)

    def publish(self, topic: str, payload: str = "x", *, retain: bool = False) -> bool:
        """Whether the broker says that it takes the message; over MQTT 3.1.1 it always says so."""
        self._client.publish(topic, payload, 1, retain)
        return self._taken.get(timeout=WAIT_S)

    def received(self, timeout_s: float = WAIT_S) -> Received | None:
        """Return the next message, or None when none comes in time."""
        try:
            return self._received.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def ended(self, timeout_s: float = WAIT_S) -> int:
        """Return the reason code with which the connection ended."""
        return self._ends.get(timeout=timeout_s)

    def drop(self) -> None:
        """Lose the connection as a dead network does: no DISCONNECT, so the will is due."""
        connection = self._client.socket()
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)
        self.ended()
