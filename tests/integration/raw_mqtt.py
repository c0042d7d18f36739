"""A client that sends and reads single MQTT packets, whole or broken, as no library would."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from typing import NamedTuple, Self

PING = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
TIMEOUT_S = 5.0


class Packet(NamedTuple):
    """A packet from the broker: its first byte and what follows the remaining length."""

    header: int
    body: bytes

    @property
    def kind(self) -> int:
        return self.header >> 4


class Published(NamedTuple):
    """A PUBLISH from the broker."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return len(raw).to_bytes(2, "big") + raw


def packet(header: int, body: bytes = b"") -> bytes:
    digits, length = bytearray(), len(body)
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (128 if length else 0))
        if not length:
            return bytes((header,)) + bytes(digits) + body


def connect(
    client_id: str,
    username: str | None = None,
    password: str | None = None,
    *,
    clean: bool = True,
    keepalive: int = 60,
    will: tuple[str, bytes, int, bool] | None = None,
    protocol: str = "MQTT",
    level: int = 4,
) -> bytes:
    flags, tail = (2 if clean else 0), string(client_id)
    if will is not None:
        topic, payload, qos, retain = will
        flags |= 4 | qos << 3 | (0x20 if retain else 0)
        tail += string(topic) + string(payload)
    if username is not None:
        flags, tail = flags | 0x80, tail + string(username)
    if password is not None:
        flags, tail = flags | 0x40, tail + string(password)
    properties = b"\0" if level == 5 else b""
    return packet(0x10, string(protocol) + bytes((level, flags)) + keepalive.to_bytes(2, "big") + properties + tail)


def publish(
    topic: str, payload: bytes = b"", qos: int = 0, packet_id: int = 1, *, retain: bool = False, dup: bool = False
) -> bytes:
    header = 0x30 | qos << 1 | (1 if retain else 0) | (8 if dup else 0)
    return packet(header, string(topic) + (packet_id.to_bytes(2, "big") if qos else b"") + payload)


def subscribe(packet_id: int, *filters: tuple[str, int]) -> bytes:
    body = b"".join(string(pattern) + bytes((qos,)) for pattern, qos in filters)
    return packet(0x82, packet_id.to_bytes(2, "big") + body)


def unsubscribe(packet_id: int, *filters: str) -> bytes:
    return packet(0xA2, packet_id.to_bytes(2, "big") + b"".join(string(pattern) for pattern in filters))


def puback(packet_id: int) -> bytes:
    return packet(0x40, packet_id.to_bytes(2, "big"))


def split(stream: bytes) -> tuple[list[Packet], bytes]:
    """Return the whole packets at the start of STREAM, and what is left of it."""
    packets: list[Packet] = []
    while len(stream) >= 2:
        length, at = 0, 1
        while True:
            if at >= len(stream):
                return packets, stream
            digit = stream[at]
            length |= (digit & 127) << 7 * (at - 1)
            at += 1
            if not digit & 128:
                break
        if len(stream) < at + length:
            break
        packets.append(Packet(stream[0], stream[at : at + length]))
        stream = stream[at + length :]
    return packets, stream


class RawClient:
    """One TCP connection; acknowledges QoS 1 unless ACK is false."""

    def __init__(self, port: int, *, ack: bool = True, receive_buffer: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(TIMEOUT_S)
        try:
            self._socket.connect(("127.0.0.1", port))
        except OSError:
            self._socket.close()
            raise
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ack = ack
        self._buffer = b""
        self._packets: list[Packet] = []
        self._published: list[Published] = []
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *packets: bytes) -> None:
        try:
            self._socket.sendall(b"".join(packets))
        except OSError:
            self.closed = True

    def abort(self) -> None:
        """Close with RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4))
        self._socket.close()

    def close(self) -> None:
        """Close with FIN."""
        self._socket.close()

    def answer(self, timeout_s: float = TIMEOUT_S) -> Packet | None:
        """Return the next packet that is no PUBLISH; None at the end of the connection or of the time."""
        self._read_until(lambda: bool(self._packets), timeout_s)
        return self._packets.pop(0) if self._packets else None

    def message(self, timeout_s: float = TIMEOUT_S) -> Published | None:
        """Return the next message; None at the end of the connection or of the time."""
        self._read_until(lambda: bool(self._published), timeout_s)
        return self._published.pop(0) if self._published else None

    def messages(self, count: int, timeout_s: float = TIMEOUT_S) -> list[Published]:
        """Return COUNT messages, or fewer at the end of the connection or of the time."""
        self._read_until(lambda: len(self._published) >= count, timeout_s)
        taken, self._published = self._published[:count], self._published[count:]
        return taken

    def fence(self) -> list[Published]:
        """Return all messages that the broker had for us when it answered a PINGREQ."""
        self.send(PING)
        self._read_until(lambda: any(each.kind == 13 for each in self._packets), TIMEOUT_S)
        self._packets = [each for each in self._packets if each.kind != 13]
        taken, self._published = self._published, []
        return taken

    def answers(self) -> list[Packet]:
        """Return what came, besides messages, until a PINGRESP."""
        self.send(PING)
        self._read_until(lambda: any(each.kind == 13 for each in self._packets), TIMEOUT_S)
        taken, self._packets = [each for each in self._packets if each.kind != 13], []
        return taken

    def ended(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Whether the broker ends the connection in time."""
        self._read_until(lambda: False, timeout_s)
        return self.closed

    def _read_until(self, done: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            while not self.closed and not done() and (left := deadline - time.monotonic()) > 0:
                if not selector.select(left):
                    return
                try:
                    data = self._socket.recv(65536)
                except OSError:
                    data = b""
                self.closed = not data
                self._buffer += data
                self._split()

    def _split(self) -> None:
        packets, self._buffer = split(self._buffer)
        for each in packets:
            self._take(each)

    def _take(self, received: Packet) -> None:
        if received.kind != 3:
            self._packets.append(received)
            return
        header, body = received
        qos, end = header >> 1 & 3, 2 + int.from_bytes(body[:2], "big")
        packet_id = int.from_bytes(body[end : end + 2], "big") if qos else 0
        payload = body[end + 2 :] if qos else body[end:]
        self._published.append(
            Published(body[2:end].decode(), payload, qos, bool(header & 1), bool(header & 8), packet_id)
        )
        if qos == 1 and self._ack:
            self.send(puback(packet_id))
