"""A subscriber over a raw socket, which never blocks: a library's thread would be part of what is measured."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

from tests.integration.raw_mqtt import puback, subscribe

_PUBLISH, _SUBACK = 3, 9


def connected(port: int, connect: bytes) -> socket.socket:
    """Return a socket on which the broker has accepted the packet CONNECT."""
    link = socket.create_connection(("127.0.0.1", port), timeout=10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(connect)
    if link.recv(4)[3:] != b"\0":
        raise ConnectionError("the broker refuses the connection")
    return link


class Subscriber:
    """Reads at QoS 1 what the FILTERS match."""

    def __init__(self, port: int, connect: bytes, filters: Sequence[str]) -> None:
        self.link = connected(port, connect)
        self._buffer = b""
        self.link.sendall(subscribe(1, *((pattern, 1) for pattern in filters)))
        while not any(header >> 4 == _SUBACK for header, _ in self._packets()):
            pass
        self.link.setblocking(False)

    def received(self) -> Iterator[tuple[str, bytes]]:
        """Return topic and payload of what is there now, acknowledged."""
        with suppress(BlockingIOError):
            for header, body in list(self._packets()):
                if header >> 4 == _PUBLISH:
                    yield self._message(header, body)

    def _message(self, header: int, body: bytes) -> tuple[str, bytes]:
        end = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:end].decode()
        if not header & 6:
            return topic, body[end:]
        self.link.sendall(puback(int.from_bytes(body[end : end + 2], "big")))
        return topic, body[end + 2 :]

    def _packets(self) -> Iterator[tuple[int, bytes]]:
        data = self.link.recv(65536)
        if not data:
            raise ConnectionError("the broker closed a connection")
        self._buffer += data
        while (end := self._end()) is not None:
            at = 1
            while self._buffer[at] & 128:
                at += 1
            yield self._buffer[0], self._buffer[at + 1 : end]
            self._buffer = self._buffer[end:]

    def _end(self) -> int | None:
        """Return where the first packet ends, None while it is not all there [MQTT-2.2.3]."""
        length = 0
        for at, digit in enumerate(self._buffer[1:5]):
            length |= (digit & 127) << 7 * at
            if not digit & 128:
                return end if len(self._buffer) >= (end := 2 + at + length) else None
        return None

    def close(self) -> None:
        self.link.close()
