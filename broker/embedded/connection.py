"""One connection from its CONNECT to its end: reads packets, and has them answered."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from broker import access
from broker.embedded import frames
from broker.embedded.connect import ACCEPTED, Connect, OtherVersion, connack, read_connect
from broker.embedded.counters import Closing, Drop
from broker.embedded.exchange import Exchange
from broker.embedded.frames import FrameReader, Malformed, Publish
from broker.embedded.holds import Hold
from broker.embedded.messages import Message, remaining_length
from broker.embedded.routing import Route
from broker.embedded.sessions import Session
from broker.embedded.wires import Wire
from broker.embedded.writer import Writer

log = logging.getLogger(__name__)

_MAX_TOPICS: Final = 1_024
_MAX_OPEN_QOS_2: Final = 1_000
_PUBREL_HEADER: Final = frames.PUBREL << 4 | 2
_QOS_2: Final = 2


class Connection:
    """Use `connect` to get the first packet, `begin` once it is let in, then `run`; `finish` from anywhere ends it."""

    def __init__(self, wire: Wire, exchange: Exchange) -> None:
        limits = exchange.limits
        self._wire = wire
        self._exchange = exchange
        self._frames = FrameReader(limits.connect_packet, limits.kept_payload)
        self._session: Session | None = None
        self._connect: Connect | None = None
        self._writer = Writer(wire, exchange, self._open_gate)
        self._topics: dict[bytes, str | None] = {}
        self._gate: asyncio.Event | None = None
        self.held = 0
        self.finished = False
        self.client_id = ""
        now = time.monotonic()
        self.opened_at = now
        self.heard_at = now
        self.packet_began_at: float | None = None
        self.keepalive_s = limits.keepalive_max_s

    @property
    def session(self) -> Session | None:
        """None before CONNECT has been accepted."""
        return self._session

    @property
    def gated(self) -> bool:
        """Whether its socket is not read because messages wait for the service."""
        return self._gate is not None

    @property
    def stuck_since(self) -> float | None:
        """Since when its peer has enough to read and reads nothing."""
        return self._writer.stuck_since

    # Its life

    async def connect(self) -> Connect | OtherVersion | None:
        """Return its CONNECT, None when the peer goes away first; raise `Malformed`."""
        begun = False
        while not self.finished:
            data = await self._wire.read()
            if not data:
                return None
            if not begun and data[0] != frames.CONNECT << 4:
                raise Malformed("first packet is no CONNECT")  # [MQTT-3.1.0-1]
            begun = True
            self._frames.feed(data)
            frame = self._frames.next()
            if frame is not None:
                self._frames.max_packet = self._exchange.limits.max_packet
                return read_connect(frame.body)
        return None

    def refuse(self, answer: bytes = b"") -> None:
        """End it before it has begun."""
        self.finished = True
        if answer:
            self._wire.write(answer)
            self._wire.close()
        else:
            self._wire.abort()

    def begin(self, connect: Connect, session: Session, *, session_present: bool) -> None:
        """Accept it: it is SESSION's connection from now on [MQTT-3.2.2-2, MQTT-4.4.0-1]."""
        limits = self._exchange.limits
        self._connect, self._session, self.client_id = connect, session, session.client_id
        self.keepalive_s = 1.5 * min(connect.keepalive_s or limits.keepalive_max_s, limits.keepalive_max_s)
        self.heard_at = time.monotonic()
        session.outlet = self
        self._writer.begin(session, [connack(ACCEPTED, session_present=session_present), *session.redeliveries()])
        self._exchange.flush()

    async def run(self) -> None:
        """Read and answer until the end."""
        try:
            await self._handle_frames()
            while not self.finished:
                data = await self._wire.read()
                if not data:
                    break
                self._frames.feed(data)
                await self._handle_frames()
        except Malformed as error:
            log.info("malformed packet: %s", error, extra={"action": "packet_malformed", "client_id": self.client_id})
            self.finish(Closing.MALFORMED)
        except OSError:
            pass  # the peer is gone
        self.finish(Closing.LOST)

    def finish(self, reason: Closing) -> None:
        """End it, once: the will is published before anybody else is served [MQTT-3.1.2-8, MQTT-3.14.4-3]."""
        if self.finished:
            return
        session, connect, exchange = self._session, self._connect, self._exchange
        if session is None or connect is None:
            self.refuse()
            return
        if reason is Closing.DISCONNECT:
            self._writer.flush()
        self.finished = True
        self._writer.end()
        if self._gate is not None:
            self._gate.set()
        exchange.gated.discard(self._open_gate)
        if reason is Closing.DISCONNECT:
            self._wire.close()
        else:
            self._wire.abort()
        exchange.counters.closed[reason] += 1
        log.debug("connection ended: %s", reason, extra={"action": "connection_ended", "client_id": self.client_id})
        exchange.leave(session)
        if connect.will is not None and reason not in (Closing.DISCONNECT, Closing.STOPPED):
            exchange.publish_will(connect.will)
        exchange.flush()

    # Reading

    async def _handle_frames(self) -> None:
        reader, heard = self._frames, False
        while not self.finished and (frame := reader.next()) is not None:
            heard = True
            self._handle(*frame)
            if self._must_wait():
                await self._wait()
        now = time.monotonic()
        if heard:
            self.heard_at = now
        if not reader.partial:
            self.packet_began_at = None
        elif heard or self.packet_began_at is None:
            self.packet_began_at = now
        self._exchange.flush()

    def _must_wait(self) -> bool:
        """Whether more of its messages would be too many. A consumer is always read: its acknowledgements make room."""
        if self._writer.crowded:
            return True
        if not self.held:
            return False
        if self.held < self._exchange.limits.held_per_connection and not self._exchange.holds.full:
            return False
        return self._session is not None and not self._session.consumes

    async def _wait(self) -> None:
        """Leave its socket unread, so that TCP slows the peer down, until there is room."""
        self._exchange.flush()
        while not self.finished and self._must_wait():
            self._gate = asyncio.Event()
            self._exchange.gated.add(self._open_gate)
            await self._gate.wait()
        self._gate = None
        self._exchange.gated.discard(self._open_gate)
        self.heard_at = time.monotonic()

    def _open_gate(self) -> None:
        if self._gate is not None and not self._must_wait():
            self._gate.set()

    def _handle(self, header: int, body: bytes, cut: bool) -> None:
        kind = header >> 4
        if kind == frames.PUBLISH:
            self._publish(frames.read_publish(header, body), cut=cut)
        elif header == frames.PUBACK << 4:
            self._acknowledged(self._own.acknowledged(frames.read_packet_id(body)))
        elif header in (frames.SUBSCRIBE << 4 | 2, frames.UNSUBSCRIBE << 4 | 2):
            self._subscribe(frames.read_subscribe(body, with_qos=kind == frames.SUBSCRIBE), kind)
        elif header == frames.PINGREQ << 4 and not body:
            self._writer.reply(b"\xd0\x00")
        elif header == frames.DISCONNECT << 4 and not body:
            self.finish(Closing.DISCONNECT)
        else:
            self._qos_2(header, body)

    def _qos_2(self, header: int, body: bytes) -> None:
        """The steps after PUBLISH, each way [MQTT-4.3.3]."""
        if header == _PUBREL_HEADER:
            frames.read_packet_id(body)
            self._own.incoming.pop(int.from_bytes(body, "big"), None)
            self._writer.reply(b"\x70\x02" + body)
        elif header == frames.PUBREC << 4:
            self._acknowledged(self._own.received(frames.read_packet_id(body)))
            self._writer.reply(b"\x62\x02" + body)
        elif header == frames.PUBCOMP << 4:
            self._acknowledged(self._own.acknowledged(frames.read_packet_id(body)))
        else:
            raise Malformed(f"packet that begins with {header:#04x}")

    @property
    def _own(self) -> Session:
        if self._session is None:
            raise Malformed("packet before CONNECT")
        return self._session

    def _acknowledged(self, hold: Hold | None) -> None:
        if hold is not None:
            self._exchange.holds.acknowledge(hold)
        if self._own.waiting:
            self.touch()

    def _publish(self, packet: Publish, *, cut: bool) -> None:
        exchange = self._exchange
        exchange.counters.messages_in += 1
        topic = self._topic(packet.topic)
        answer = b""
        if packet.qos:
            answer = (b"\x40\x02" if packet.qos != _QOS_2 else b"\x50\x02") + packet.packet_id.to_bytes(2, "big")
            if packet.qos == _QOS_2 and self._is_repeated(packet.packet_id, answer):
                return
        hold = None
        if topic is None:
            exchange.counters.dropped[Drop.FORBIDDEN] += 1
        else:
            hold = self._hand_over(exchange.router.route(topic), packet, answer, cut=cut)
        if packet.qos == _QOS_2:
            self._own.incoming[packet.packet_id] = hold
        if hold is not None:
            self._writer.answer_later(hold)
        elif answer:
            self._writer.answer(answer)

    def _hand_over(self, route: Route, packet: Publish, answer: bytes, *, cut: bool) -> Hold | None:
        if cut:
            payload = packet.payload[: self._exchange.limits.kept_payload]
            message = Message(route.topic, route.topic_string, payload, packet.qos)
            return self._exchange.publish_cut(route, message, self, answer)
        message = Message(route.topic, route.topic_string, packet.payload, packet.qos)
        return self._exchange.publish(route, message, self, answer, retain=packet.retain)

    def _topic(self, raw: bytes) -> str | None:
        """Return the topic RAW if it may be published to, asking once for each."""
        try:
            return self._topics[raw]
        except KeyError:
            if len(self._topics) >= _MAX_TOPICS:
                self._topics.clear()
            topic = frames.read_topic(raw)
            allowed = topic if not topic.startswith("$") and access.may_publish(self._own.claims, topic) else None
            self._topics[raw] = allowed
            return allowed

    def _is_repeated(self, packet_id: int, answer: bytes) -> bool:
        """Whether a QoS 2 message is here already; if so, see to it that it is answered [MQTT-4.3.3-2]."""
        incoming = self._own.incoming
        if packet_id not in incoming:
            if len(incoming) >= _MAX_OPEN_QOS_2:
                raise Malformed("too many QoS 2 messages that are not released")
            return False
        hold = incoming[packet_id]
        if hold is None or hold.done:
            self._writer.answer(answer)
        elif hold.publisher is not self:
            hold.publisher = self
            self.held += 1
            self._writer.answer_later(hold)
        return True

    def _subscribe(self, packet: frames.Subscribe, kind: int) -> None:
        identifier = packet.packet_id.to_bytes(2, "big")
        if kind == frames.UNSUBSCRIBE:
            for pattern, _ in packet.filters:
                self._exchange.unsubscribe(self._own, pattern)
            self._writer.reply(b"\xb0\x02" + identifier)
            return
        codes = bytes(self._exchange.subscribe(self._own, pattern, qos) for pattern, qos in packet.filters)
        self._writer.reply(b"\x90" + remaining_length(2 + len(codes)) + identifier + codes)

    # What others ask of it

    def released(self) -> None:
        """Acknowledge what the service has stored, in the order it came."""
        self._writer.release()
        if self._gate is not None:
            self._open_gate()

    def touch(self) -> None:
        """Send soon what is queued."""
        self._writer.touch()

    def overflow(self) -> None:
        """Its peer does not keep up, so it is cut off."""
        asyncio.get_running_loop().call_soon(self.finish, Closing.SLOW_CONSUMER)
