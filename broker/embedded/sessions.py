"""What the broker keeps for a client beyond its connection: subscriptions, queue, what is in flight, packet ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from broker.access import Claims, Role
from broker.embedded.counters import Counters, Drop
from broker.embedded.holds import Hold
from broker.embedded.limits import Limits
from broker.embedded.messages import Message, Outgoing

_LAST_PACKET_ID: Final = 0xFFFF
_QOS_1: Final = 1


class Owner(NamedTuple):
    """Whose a session is. Nobody else may resume it, take it over or discard it."""

    company: str
    user: str
    role: Role


def owner_of(claims: Claims) -> Owner:
    """Return the owner of sessions that are opened with CLAIMS."""
    return Owner(claims.company, claims.user, claims.role)


class Outlet(Protocol):
    """The connection of a session."""

    def touch(self) -> None:
        """Soon send what is queued."""

    def overflow(self) -> None:
        """Its peer does not keep up."""


class Session:
    """One client's session [MQTT-3.1.2.4]. It is in the broker's memory alone."""

    local = False

    def __init__(self, client_id: str, claims: Claims, limits: Limits, counters: Counters, *, clean: bool) -> None:
        self.client_id = client_id
        self.claims = claims
        self.clean = clean
        self.filters: dict[str, int] = {}
        self.outlet: Outlet | None = None
        self.absent_since: float | None = None
        self.muted = False
        """Its owner's token has ended, so nothing more is queued while it is absent."""
        self.incoming: dict[int, Hold | None] = {}
        """Packet ids of QoS 2 that are not released yet, with what their PUBREC waits for."""
        self._limits = limits
        self._counters = counters
        self._replay: deque[Outgoing] = deque()
        self._pending: deque[Outgoing] = deque()
        self._loose = 0
        self._loose_bytes = 0
        """Of what is pending, that which is not held, and so has to be bounded here."""
        self._inflight: dict[int, Outgoing | None] = {}
        """What is sent and not acknowledged; None once a QoS 2 message is released."""
        self._last_id = 0
        self._window = limits.service_inflight if claims.role is Role.SERVICE else limits.inflight

    @property
    def owner(self) -> Owner:
        return owner_of(self.claims)

    @property
    def consumes(self) -> bool:
        """Whether messages of others wait for its acknowledgements."""
        return self.claims.role is Role.SERVICE and any(self.filters.values())

    @property
    def waiting(self) -> bool:
        """Whether something could be sent now."""
        if self._replay or self._pending:
            return len(self._inflight) < self._window or not (self._replay or self._pending)[0].qos
        return False

    def offer(self, message: Message, qos: int, hold: Hold | None) -> None:
        """Queue one copy of MESSAGE. What is held is never dropped: its number is bounded by `Holds`."""
        if self.outlet is None and (not qos or self.muted):
            return
        if hold is None and not self._has_room_for(message, qos):
            return
        self._pending.append(Outgoing(message, qos, retain=False, hold=hold))
        if hold is None:
            self._loose += 1
            self._loose_bytes += len(message.payload)
        if self.outlet is not None:
            self.outlet.touch()

    def _has_room_for(self, message: Message, qos: int) -> bool:
        """Whether MESSAGE may be queued. A present client that is too slow is cut off; of an absent one the oldest goes."""
        limits = self._limits
        if self._loose < limits.pending and self._loose_bytes + len(message.payload) <= limits.pending_bytes:
            return True
        self._counters.dropped[Drop.QUEUE_FULL] += 1
        if self.outlet is not None:
            # Devices can flood the service at QoS 0, so that must not cut the service off.
            if qos or self.claims.role is not Role.SERVICE:
                self.outlet.overflow()
            return False
        if not self._pending or self._pending[0].hold is not None:
            return False
        self._loose -= 1
        self._loose_bytes -= len(self._pending.popleft().message.payload)
        return self._loose_bytes + len(message.payload) <= limits.pending_bytes

    def replay(self, messages: Iterable[Message], granted: int) -> None:
        """Queue retained MESSAGES, which a new subscription of QoS GRANTED selects [MQTT-3.3.1-8]."""
        self._replay.extend(Outgoing(each, min(each.qos, granted), retain=True, hold=None) for each in messages)

    def take(self, max_bytes: int) -> list[bytes]:
        """Return the packets to send now, about MAX_BYTES of them: first retained messages, then live ones."""
        packets: list[bytes] = []
        size = 0
        while size < max_bytes:
            queue = self._replay or self._pending
            if not queue or (queue[0].qos and len(self._inflight) >= self._window):
                break
            outgoing = queue.popleft()
            if outgoing.hold is None and not outgoing.retain:
                self._loose -= 1
                self._loose_bytes -= len(outgoing.message.payload)
            packet_id = self._track(outgoing) if outgoing.qos else 0
            packet = outgoing.message.packet(outgoing.qos, packet_id, retain=outgoing.retain)
            packets.append(packet)
            size += len(packet)
        self._counters.messages_out += len(packets)
        return packets

    def _track(self, outgoing: Outgoing) -> int:
        packet_id = self._last_id
        while True:
            packet_id = packet_id % _LAST_PACKET_ID + 1
            if packet_id not in self._inflight:
                break
        self._last_id = packet_id
        self._inflight[packet_id] = outgoing
        return packet_id

    def redeliveries(self) -> list[bytes]:
        """Return what was in flight when the last connection ended, to be sent first [MQTT-4.4.0-1]."""
        return [
            b"\x62\x02" + packet_id.to_bytes(2, "big")
            if outgoing is None
            else outgoing.message.packet(outgoing.qos, packet_id, retain=outgoing.retain, dup=True)
            for packet_id, outgoing in self._inflight.items()
        ]

    def acknowledged(self, packet_id: int) -> Hold | None:
        """Take a PUBACK or PUBCOMP; return what waits for it. One that fits nothing is ignored."""
        outgoing = self._inflight.pop(packet_id, None)
        return outgoing.hold if outgoing is not None else None

    def received(self, packet_id: int) -> Hold | None:
        """Take a PUBREC, from which on the receiver owns the message; return what waits for it."""
        outgoing = self._inflight.get(packet_id)
        if outgoing is None or outgoing.qos == _QOS_1:
            return None
        self._inflight[packet_id] = None
        return outgoing.hold

    def detach(self, now: float) -> None:
        """Its connection is gone: only QoS 1 and 2 are kept [MQTT-3.1.2-5]."""
        self.outlet = None
        self.absent_since = now
        self._replay = deque(each for each in self._replay if each.qos)
        self._set_pending(each for each in self._pending if each.qos)

    def _set_pending(self, outgoing: Iterable[Outgoing]) -> None:
        self._pending = deque(outgoing)
        sizes = [len(each.message.payload) for each in self._pending if each.hold is None]
        self._loose, self._loose_bytes = len(sizes), sum(sizes)

    def drop_held(self, wanted: Callable[[Message], bool]) -> list[Hold]:
        """Take what is held out of queue and flight, except what is still WANTED; return it in the order it came."""
        held: list[Hold] = []
        for packet_id, flying in self._inflight.items():
            if flying is not None and flying.hold is not None and not wanted(flying.message):
                held.append(flying.hold)
                self._inflight[packet_id] = flying._replace(hold=None)
        pending = list(self._pending)
        gone = [each.hold for each in pending if each.hold is not None and not wanted(each.message)]
        if gone:
            self._set_pending(each for each in pending if each.hold is None or wanted(each.message))
        return held + gone


class Sessions:
    """All sessions, by client id and by owner."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}
        self._by_owner: dict[Owner, dict[str, Session]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_id.values()))

    def find(self, client_id: str) -> Session | None:
        return self._by_id.get(client_id)

    def of(self, owner: Owner) -> list[Session]:
        """Return the sessions of OWNER, oldest first."""
        return list(self._by_owner.get(owner, {}).values())

    def add(self, session: Session) -> None:
        self._by_id[session.client_id] = session
        self._by_owner.setdefault(session.owner, {})[session.client_id] = session

    def remove(self, session: Session) -> None:
        del self._by_id[session.client_id]
        mine = self._by_owner[session.owner]
        del mine[session.client_id]
        if not mine:
            del self._by_owner[session.owner]
