"""Heartbeats at QoS 1 over raw sockets, encoded before the clock starts, so that the generator costs next to nothing."""

from __future__ import annotations

import json
import selectors
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

PUBLISH_QOS1, CONNECT, DISCONNECT = 0x32, 0x10, b"\xe0\x00"
_PACKET_IDS = 60_000


def string(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def packet(kind: int, body: bytes) -> bytes:
    """Return the packet of KIND and BODY with its remaining length [MQTT-2.2.3]."""
    length, digits = len(body), bytearray()
    while length > 127:
        digits.append(length % 128 | 128)
        length //= 128
    digits.append(length)
    return bytes([kind]) + bytes(digits) + body


@dataclass(slots=True)
class Lane:
    """One connection: its encoded packets, how many were sent and how many acknowledged."""

    link: socket.socket
    packets: list[bytes]
    sent: int = 0
    acked: int = 0
    rest: bytes = b""


@dataclass(frozen=True, slots=True)
class Load:
    """So many CLIENTS publish for so many USERS of ten companies, each with WINDOW messages in flight at the most."""

    port: int
    username: str
    token: str = field(repr=False)
    clients: int = 100
    users: int = 20_000
    window: int = 20
    run: str = "1"

    def publish(self, messages: int, rate: float | None = None) -> float:
        """Publish MESSAGES, RATE a second or as fast as they are acknowledged; return the seconds to the last PUBACK."""
        each = messages // self.clients
        lanes = [Lane(self._connect(number), self._packets(number, each)) for number in range(self.clients)]
        with selectors.DefaultSelector() as selector:
            for lane in lanes:
                selector.register(lane.link, selectors.EVENT_READ, lane)
            began = time.perf_counter()
            while any(lane.acked < each for lane in lanes):
                due = each if rate is None else min(each, int((time.perf_counter() - began) * rate / self.clients) + 1)
                for lane in lanes:
                    self._feed(lane, due)
                for key, _ in selector.select(0.002 if rate else 0.5):
                    self._read(key.data)
                    self._feed(key.data, due)
            seconds = time.perf_counter() - began
        for lane in lanes:
            lane.link.sendall(DISCONNECT)
            lane.link.close()
        return seconds

    def _feed(self, lane: Lane, due: int) -> None:
        end = min(due, lane.acked + self.window)
        if end > lane.sent:
            lane.link.sendall(b"".join(lane.packets[lane.sent : end]))
            lane.sent = end

    def _read(self, lane: Lane) -> None:
        data = lane.link.recv(65536)
        if not data:
            raise ConnectionError("the broker closed a connection")
        data = lane.rest + data
        lane.acked += len(data) // 4  # a PUBACK has four bytes
        lane.rest = data[len(data) // 4 * 4 :]

    def _connect(self, number: int) -> socket.socket:
        flags = 0x02 | (0xC0 if self.token else 0)
        login = string(self.username) + string(self.token) if self.token else b""
        body = string("MQTT") + bytes([4, flags, 0, 0]) + string(f"fieldbeat:load{number}") + login
        link = socket.create_connection(("127.0.0.1", self.port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(packet(CONNECT, body))
        if link.recv(4)[3:] != b"\0":
            raise ConnectionError("the broker refuses the connection")
        return link

    def _packets(self, number: int, count: int) -> list[bytes]:
        mine = list(range(number, self.users, self.clients)) or [number]
        start = datetime.now(UTC)
        made = []
        for turn in range(count):
            user, seq = mine[turn % len(mine)], turn // len(mine)
            at = start + timedelta(milliseconds=turn)
            heartbeat = {
                "device": "d1", "session": f"run{self.run}-{user}", "seq": seq, "at": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z",
                "latitude": round(12.9 + user * 1e-5 + seq * 1e-6, 6), "longitude": round(77.6 - user * 1e-5, 6),
                "accuracy": 5.0, "battery": 80,
            }  # fmt: skip
            payload = json.dumps(heartbeat, separators=(",", ":")).encode()
            topic = string(f"company/load{user % 10}/presence/u{user}")
            made.append(packet(PUBLISH_QOS1, topic + (turn % _PACKET_IDS + 1).to_bytes(2, "big") + payload))
        return made
