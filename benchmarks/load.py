"""Heartbeats at QoS 1 over raw sockets, written by one template, so that the generator costs next to nothing."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf

PUBLISH_QOS1, CONNECT, DISCONNECT = 0x32, 0x10, b"\xe0\x00"
COMPANIES = 10
_PACKET_IDS = 60_000
_PUBACK_BYTES = 4
_LOOK_EVERY_S = 0.02
"""How often the generator asks how far the others are."""
_TICK_S, _TICK_AT_A_RATE_S = 0.001, 0.01
"""Mosquitto writes PUBACKs one by one; whoever wakes up for each has no time for anything else. Where the rate is given there is
still less reason to hurry: a hundred connections then write a packet or two at a time."""
_TOPIC = b"company/load%d/presence/u%07d"
_HEARTBEAT = (
    b'{"device":"tablet-7","session":"%b%010d","seq":%8d,"at":"%b","latitude":12.%06d,"longitude":77.%06d,'
    b'"accuracy":5.0,"speed":1.5,"heading":270,"battery":80}'
)
"""A session is a ULID: the time of the run, and the user in the place of chance."""
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


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


def session_prefix(moment: datetime) -> bytes:
    """Return the first 16 characters of a ULID made at MOMENT."""
    milliseconds = int(moment.timestamp() * 1000)
    return "".join(_CROCKFORD[milliseconds >> 5 * at & 31] for at in range(9, -1, -1)).encode() + b"ZZZZZZ"


@dataclass(slots=True)
class Lane:
    """One connection and its share of the users: how many packets were sent and how many acknowledged."""

    link: socket.socket
    users: range
    session: bytes
    sent: int = 0
    acked: int = 0
    rest: int = 0

    def send(self, count: int) -> None:
        """Send the next COUNT heartbeats, the users in turns."""
        at, users, each = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z".encode(), self.users, len(self.users)
        made = []
        for turn in range(self.sent, self.sent + count):
            seq, index = divmod(turn, each)
            user = users[index]
            place = (user * 97 + seq) % 1_000_000
            made.append(
                _PACKET
                % (
                    user % COMPANIES,
                    user,
                    *divmod(turn % _PACKET_IDS + 1, 256),
                    self.session,
                    user,
                    seq,
                    at,
                    place,
                    place,
                )
            )
        self.link.sendall(b"".join(made))
        self.sent += count

    def read(self) -> None:
        data = self.link.recv(65536)
        if not data:
            raise ConnectionError("the broker closed a connection")
        whole, self.rest = divmod(self.rest + len(data), _PUBACK_BYTES)
        self.acked += whole

    def per_user(self) -> Iterator[tuple[int, int]]:
        """Return each user with how many heartbeats were sent for them."""
        rounds, more = divmod(self.sent, len(self.users))
        return ((user, rounds + (index < more)) for index, user in enumerate(self.users))


def _template() -> bytes:
    """Return the packet of every heartbeat: all have one length, so that one remaining length fits them all."""
    heartbeat = _HEARTBEAT % (bytes(16), 0, 0, bytes(27), 0, 0)
    topic = _TOPIC % (0, 0)
    length = 2 + len(topic) + 2 + len(heartbeat)
    head = bytes([PUBLISH_QOS1, length % 128 | 128, length // 128])
    return head + len(topic).to_bytes(2, "big") + _TOPIC + b"%c%c" + _HEARTBEAT


_PACKET = _template()
PAYLOAD_BYTES = len(_HEARTBEAT % (bytes(16), 0, 0, bytes(27), 0, 0))


class Flow:
    """Open connections that publish, in one stretch or several; `seq` goes on from one to the next."""

    def __init__(self, lanes: list[Lane], window: int) -> None:
        self._lanes = lanes
        self._window = window
        self._selector = selectors.DefaultSelector()
        for lane in lanes:
            self._selector.register(lane.link, selectors.EVENT_READ, lane)

    @property
    def sent(self) -> int:
        return sum(lane.sent for lane in self._lanes)

    @property
    def round(self) -> int:
        """How many messages it takes until every user was heard."""
        return len(self._lanes) * max(len(lane.users) for lane in self._lanes)

    def per_user(self) -> dict[int, int]:
        """Return how many heartbeats were sent for each user."""
        return {user: count for lane in self._lanes for user, count in lane.per_user()}

    def publish(
        self, messages: float = inf, *, seconds: float = inf, rate: float = inf, room: Callable[[], int] | None = None
    ) -> float:
        """Publish MESSAGES or for SECONDS, at RATE a second or as fast as acknowledged; return the seconds to the last PUBACK.

        ROOM says how many more messages the others can take; without it only the window counts.
        """
        lanes, share = self._lanes, len(self._lanes)
        starts, grants = [lane.sent for lane in lanes], [inf] * share
        tick_s = _TICK_S if rate == inf else _TICK_AT_A_RATE_S
        began, looked = time.perf_counter(), -inf
        while True:
            elapsed = time.perf_counter() - began + tick_s
            if room is not None and elapsed - looked >= _LOOK_EVERY_S:
                looked, each = elapsed, max(0, room()) / share
                grants = [lane.sent + each for lane in lanes]
            due, over = min(messages, elapsed * rate) / share, elapsed >= seconds
            for lane, start, grant in zip(lanes, starts, grants, strict=True):
                goal = int(min(start + due, grant, lane.acked + self._window))
                if goal > lane.sent and not over:
                    lane.send(goal - lane.sent)
            over = over or all(
                lane.sent - start > messages / share - 1 for lane, start in zip(lanes, starts, strict=True)
            )
            if over and all(lane.acked == lane.sent for lane in lanes):
                return time.perf_counter() - began
            time.sleep(tick_s)
            for key, _ in self._selector.select(0):
                key.data.read()

    def close(self) -> None:
        self._selector.close()
        for lane in self._lanes:
            lane.link.sendall(DISCONNECT)
            lane.link.close()


@dataclass(frozen=True, slots=True)
class Load:
    """So many CLIENTS publish for so many USERS of ten companies, each with WINDOW messages in flight at the most."""

    port: int
    username: str
    token: str = field(repr=False)
    clients: int = 100
    users: int = 20_000
    window: int = 20

    def publish(self, messages: int, rate: float = inf) -> float:
        """Publish MESSAGES, RATE a second or as fast as they are acknowledged; return the seconds to the last PUBACK."""
        with self.opened() as flow:
            return flow.publish(messages, rate=rate)

    @contextmanager
    def opened(self) -> Iterator[Flow]:
        session, clients = session_prefix(datetime.now(UTC)), min(self.clients, self.users)
        lanes = [Lane(self._connect(number), range(number, self.users, clients), session) for number in range(clients)]
        flow = Flow(lanes, self.window)
        try:
            yield flow
        finally:
            flow.close()

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
