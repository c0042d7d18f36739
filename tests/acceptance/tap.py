"""A tap on the wire between the ingest and its broker: passes every byte on, and notes what the ingest acknowledges."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.integration.raw_mqtt import Packet, split

_PUBLISH, _PUBACK, _SUBACK = 3, 4, 9

Told = tuple[str, bytes]
"""A topic and a payload."""


class Tap:
    """Listens on a port of its own; several connections may go through it, to the broker on port TO."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.acknowledged: set[Told] = set()
        """What was acknowledged with PUBACK."""
        self.subscribed = 0
        """How many times the broker has confirmed a subscription."""
        self._sockets: set[socket.socket] = set()
        self._acceptor = threading.Thread(target=self._accept, name="tap")
        self._acceptor.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._server.close()
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:  # the broker is away, and so are we
                near.close()
                continue
            self._sockets |= {near, far}
            in_flight: dict[bytes, Told] = {}
            pumps = ((far, near, self._note_delivery), (near, far, self._note_acknowledgement))
            threads = [
                threading.Thread(target=self._pump, args=(source, sink, note, in_flight), name="tap")
                for source, sink, note in pumps
            ]
            for thread in threads:
                thread.start()
            threading.Thread(target=self._close_after, args=(threads, near, far), name="tap").start()

    def _close_after(self, threads: list[threading.Thread], *sockets: socket.socket) -> None:
        for thread in threads:
            thread.join()
        for each in sockets:
            self._sockets.discard(each)
            each.close()

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        note: Callable[[Packet, dict[bytes, Told]], None],
        in_flight: dict[bytes, Told],
    ) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                packets, rest = split(rest + data)
                for packet in packets:
                    note(packet, in_flight)
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _note_delivery(self, packet: Packet, in_flight: dict[bytes, Told]) -> None:
        if packet.kind == _SUBACK:
            self.subscribed += 1
        if packet.kind != _PUBLISH or not packet.header & 2:
            return
        end = 2 + int.from_bytes(packet.body[:2], "big")
        # MQTT 5: after the packet id come the properties, whose length is below 128 here [MQTT5-3.3.2.3].
        start = end + 3 + packet.body[end + 2]
        in_flight[packet.body[end : end + 2]] = packet.body[2:end].decode(), packet.body[start:]

    def _note_acknowledgement(self, packet: Packet, in_flight: dict[bytes, Told]) -> None:
        if packet.kind == _PUBACK and packet.body[:2] in in_flight:
            self.acknowledged.add(in_flight.pop(packet.body[:2]))


@contextmanager
def tapped(to: int) -> Iterator[Tap]:
    tap = Tap(to)
    try:
        yield tap
    finally:
        tap.close()
