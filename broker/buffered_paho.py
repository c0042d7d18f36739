"""paho's client with a buffered socket: it reads in chunks, hands messages over together, and acknowledges many at once.

paho reads three times a message and writes each acknowledgement by itself. This file replaces its loop, and relies on private parts
of the one version that pyproject.toml names: `_packet_handle`, `_out_packet`, `_sock_recv`, `_sock_send`, `_sock_close`.
"""

from __future__ import annotations

import contextlib
import math
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion, _ConnectionState
from paho.mqtt.exception import MalformedPacket

from broker.mqtt_stream import Malformed, Packet, Publication, Stream

_CHUNK: Final = 256 * 1024
_PUBACK, _PUBLISH, _DISCONNECT = 0x40, 0x30, 0xE0
_PUBACK_START: Final = 0x4002
"""The two bytes before the packet id; success needs no reason code, not even in MQTT 5 [MQTT5-3.4.2.1]."""
_GATHER_S: Final = 0.005
"""A broker writes each message by itself; whoever reads each by itself too spends most of its time on waking up."""
_GOODBYE_S: Final = 2.0
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class BufferedClient(paho.Client):
    """Connects, writes and reads in the one thread that calls `connect` and `loop`; all else may be called from any thread.

    ARRIVED is given the messages of a chunk, and says whether earlier ones still wait: then there is no hurry to read the next. While
    IS_FULL, until `wake`, nothing is read at all, and the connection kept alive.
    """

    def __init__(
        self,
        arrived: Callable[[list[Publication]], bool],
        is_full: Callable[[], bool],
        *,
        client_id: str,
        protocol: MQTTProtocolVersion,
        clean_session: bool | None,
        transport: str,
    ) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session,
            protocol=protocol,
            transport=transport,  # type: ignore[arg-type] # a literal type without a name
            reconnect_on_failure=False,
        )
        self._arrived, self._is_full = arrived, is_full
        self._stream = Stream(v5=protocol == MQTTProtocolVersion.MQTTv5)
        self._unacknowledged: deque[int] = deque()
        self._awake = False
        self._leaving = False
        self._read_from_s = 0.0
        self._selector = selectors.DefaultSelector()
        self._watched = 0
        self._alarm, self._bell = socket.socketpair()
        for end in (self._alarm, self._bell):
            end.setblocking(False)
        self._selector.register(self._alarm, _READ)
        # With this callback paho leaves all writing to the loop: without it each caller writes, one into the packet of another.
        self.on_socket_register_write = lambda *_: self.wake()

    # From any thread

    def acknowledge(self, packet_id: int) -> None:
        """Acknowledge a message at QoS 1, together with all others that are acknowledged before the loop comes round."""
        self._unacknowledged.append(packet_id)
        if not self._awake:
            self.wake()

    def leave(self) -> None:
        """Write what is queued, then DISCONNECT; `loop` ends."""
        self._leaving = True
        self.wake()

    def wake(self) -> None:
        """Have the loop look again at what it may read and what it must write."""
        if not self._awake:
            self._awake = True
            with contextlib.suppress(OSError):  # closed, or so often rung that nobody can miss it
                self._bell.send(b"\0")

    # In the loop's thread

    def loop(self, timeout: float = 1.0) -> MQTTErrorCode:
        """Wait for at most TIMEOUT seconds, write, read one chunk, and ping; not MQTT_ERR_SUCCESS means the connection has ended."""
        if self._sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        full = self._is_full()
        hold_s = math.inf if full else self._read_from_s - time.monotonic()
        ready = self._wait(min(timeout, hold_s), 0) if hold_s > 0 else self._wait(timeout, _READ)
        leaving = self._leaving  # looked at first: whoever leaves has acknowledged before
        self._acknowledge_all()
        if leaving and self._state != _ConnectionState.MQTT_CS_DISCONNECTING:
            self.disconnect()
        code = self.loop_write() if self.want_write() else MQTTErrorCode.MQTT_ERR_SUCCESS
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS and ready & _READ and self._sock is not None:
            code = self.loop_read()
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return code
        if full:  # the broker's answer to a ping waits behind messages that we do not read
            self._ping_t, self._last_bytes_received = 0.0, time.monotonic()
        return self.loop_misc()

    def close(self) -> None:
        """Give back the sockets; `loop` has returned for the last time."""
        self._sock_close()
        self.on_socket_register_write = None
        for each in (self._selector, self._alarm, self._bell):
            each.close()

    def _wait(self, timeout: float, reading: int) -> int:
        """Return which of READING and writing the connection is ready for."""
        sock: Any = self._sock
        events = reading | (_WRITE if self.want_write() else 0)
        if events != self._watched:
            if self._watched:
                self._selector.unregister(sock)
            if events:
                self._selector.register(sock, events)
            self._watched = events
        # What TLS has decrypted already, the selector does not see.
        pending = reading and hasattr(sock, "pending") and sock.pending() > 0
        ready = reading if pending else 0
        for key, mask in self._selector.select(0 if pending else timeout):
            if key.fileobj is sock:
                ready |= mask
            else:
                self._alarm.recv(_CHUNK)
        # From here on whoever wants something rings again; what was wanted before is seen to in this round.
        self._awake = False
        return ready

    def _acknowledge_all(self) -> None:
        waiting = self._unacknowledged
        if count := len(waiting):
            words = [_PUBACK_START] * (2 * count)
            words[1::2] = [waiting.popleft() for _ in range(count)]
            self._out_packet.append(_block(struct.pack(f"!{2 * count}H", *words)))

    def loop_write(self) -> MQTTErrorCode:
        """Write what is queued, as one block."""
        self._join_queued()
        return super().loop_write()

    def _join_queued(self) -> None:
        """Make the packets at the head of the queue one, but for those with which paho does something once they are out."""
        queue, parts, size = self._out_packet, [], 0
        while queue and size < _CHUNK:
            first = queue[0]
            kind = first["command"] & 0xF0
            if kind == _DISCONNECT or (kind == _PUBLISH and not first["qos"]):
                break
            parts.append(first["packet"][first["pos"] :] if first["pos"] else first["packet"])
            size += len(parts[-1])
            queue.popleft()
        if parts:
            queue.appendleft(_block(b"".join(parts)))

    def _create_socket_connection(self) -> socket.socket:
        made = super()._create_socket_connection()
        # A block is written once it is whole: nothing is gained by holding it back until the last one has been acknowledged.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _sock_send(self, buf: bytes | bytearray) -> int:
        sent = super()._sock_send(buf)
        if not sent:  # paho's WebSocket still has a part of the frame; paho would take the packet for written
            raise BlockingIOError
        return sent

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # noqa: ARG002 paho's signature
        """Read a chunk and handle all packets that it completes."""
        try:
            chunk = self._receive()
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            chunk = b""
        if not chunk:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self._last_bytes_received = time.monotonic()
        try:
            for what in self._stream.feed(chunk):
                if isinstance(what, Packet):
                    code = self._handle(what)
                    if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self._sock is None:
                        return self._loop_rc_handle(code) if code else MQTTErrorCode.MQTT_ERR_CONN_LOST
                elif self._arrived(what):
                    self._read_from_s = self._last_bytes_received + _GATHER_S
        except (Malformed, MalformedPacket):
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_PROTOCOL)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _receive(self) -> bytes:
        chunk = self._sock_recv(_CHUNK)
        if type(self._sock) is socket.socket:
            return chunk
        # TLS gives one record at a time, and paho's WebSocket one frame.
        parts, size = [chunk], len(chunk)
        with contextlib.suppress(OSError):  # an end of the connection comes again next time
            while parts[-1] and size < _CHUNK:
                parts.append(self._sock_recv(_CHUNK))
                size += len(parts[-1])
        return b"".join(parts)

    def _handle(self, packet: Packet) -> MQTTErrorCode:
        incoming = self._in_packet
        incoming["command"], incoming["packet"] = packet.header, bytearray(packet.body)
        incoming["remaining_length"] = len(packet.body)
        return self._packet_handle()

    def _sock_close(self) -> None:
        """After our DISCONNECT, let the broker close: a socket closed over unread messages resets, and acknowledgements are lost."""
        sock: Any = self._sock
        if sock is not None and self._state == _ConnectionState.MQTT_CS_DISCONNECTING:
            self._read_to_the_end(sock)
        super()._sock_close()

    def _read_to_the_end(self, sock: Any) -> None:  # noqa: ANN401 paho's sockets are of several types
        give_up = time.monotonic() + _GOODBYE_S
        with selectors.DefaultSelector() as selector:
            selector.register(sock, _READ)
            while (left := give_up - time.monotonic()) > 0 and selector.select(left):
                try:
                    if not self._sock_recv(_CHUNK):
                        return
                except BlockingIOError:
                    continue
                except OSError:
                    return


def _block(packets: bytes) -> Any:  # noqa: ANN401 paho keeps the name of this dictionary's type to itself
    """Return PACKETS as paho queues one packet, of a kind that it only writes."""
    return {
        "command": _PUBACK, "mid": 0, "qos": 0, "pos": 0, "to_process": len(packets), "packet": packets, "info": None,
    }  # fmt: skip
