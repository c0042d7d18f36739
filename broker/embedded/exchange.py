"""The middle of the broker: takes messages in, retains them, hands them out, and keeps sessions and subscriptions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from broker import access
from broker.access import Claims, Role
from broker.embedded.connect import Connect, Will
from broker.embedded.counters import Counters, Drop, Refusal, Snapshot
from broker.embedded.holds import Hold, Holds, Publisher
from broker.embedded.limits import Limits
from broker.embedded.messages import Message
from broker.embedded.retained import Retained
from broker.embedded.routing import Route, Router, Subscriber
from broker.embedded.sessions import Session, Sessions, owner_of
from models import topics

log = logging.getLogger(__name__)

REFUSED_FILTER: Final = 0x80


class Flushable(Protocol):
    """What has something to send."""

    def flush(self) -> None:
        """Send it."""


class Exchange:
    """Every method runs in the broker's thread, to its end, so that nobody sees half of a change."""

    def __init__(self, limits: Limits, *, hold_pubacks: bool) -> None:
        self.limits = limits
        self.counters = Counters()
        self.router = Router()
        self.retained = Retained(limits)
        self.sessions = Sessions()
        self.holds = Holds(limits, self._made_room)
        self.links: list[Subscriber] = []
        """Subscribers without a session."""
        self.gated: set[Callable[[], None]] = set()
        """Called once when messages may be held again."""
        self._hold_pubacks = hold_pubacks
        self._served_a_link = False
        self._dirty: list[Flushable] = []

    # What a connection asks for

    def publish(
        self, route: Route, message: Message, publisher: Publisher | None, answer: bytes, *, retain: bool
    ) -> Hold | None:
        """Hand MESSAGE out; return the hold that its ANSWER waits for, None when it may be answered at once."""
        if retain and not self.retained.put(message):
            self.counters.dropped[Drop.RETAINED_FULL] += 1
        hold = self._hold(route, message, publisher, answer)
        for subscriber, qos, consumes in route.targets:
            subscriber.offer(message, min(qos, message.qos), hold if consumes else None)
        return hold if self._hold_pubacks else None

    def publish_cut(self, route: Route, message: Message, publisher: Publisher | None, answer: bytes) -> Hold | None:
        """Hand the beginning of a MESSAGE that was too large to consumers alone, which keep it with the reason."""
        self.counters.dropped[Drop.TOO_LARGE] += 1
        hold = self._hold(route, message, publisher, answer)
        for subscriber, qos, consumes in route.targets:
            if consumes:
                subscriber.offer(message, min(qos, message.qos), hold)
        return hold if self._hold_pubacks else None

    def publish_will(self, will: Will) -> None:
        """Publish a WILL, which was allowed when its connection began; nobody waits for its acknowledgement."""
        self.counters.wills += 1
        route = self.router.route(will.topic)
        if route.stored and will.qos and self.holds.overfull:
            self.counters.dropped[Drop.HELD_FULL] += 1
            return
        message = Message(route.topic, route.topic_string, will.payload, will.qos)
        self.publish(route, message, None, b"", retain=will.retain)

    def _hold(self, route: Route, message: Message, publisher: Publisher | None, answer: bytes) -> Hold | None:
        if not route.stored or not message.qos or not (route.consumers or self._hold_pubacks):
            return None
        return self.holds.open(message, publisher, answer, route.consumers)

    def subscribe(self, session: Session, pattern: str, qos: int) -> int:
        """Add a subscription; return the granted QoS, or 0x80 for a filter that is not allowed [MQTT-3.9.3-2]."""
        known = pattern in session.filters
        if (
            pattern.startswith("$")
            or pattern.count("/") >= self.limits.filter_levels
            or not access.may_subscribe(session.claims, pattern)
            or (not known and len(session.filters) >= self.limits.subscriptions)
        ):
            return REFUSED_FILTER
        session.filters[pattern] = qos
        self.router.subscribe(session, pattern, qos)
        session.replay(self._retained_for(session, pattern), qos)
        if qos:
            self.adopt(session, pattern)
        return qos

    def _retained_for(self, session: Session, pattern: str) -> list[Message]:
        return [each for each in self.retained.select(pattern) if access.may_receive(session.claims, each.topic)]

    def adopt(self, subscriber: Subscriber, pattern: str) -> None:
        """Give SUBSCRIBER, if it is a consumer, the messages of PATTERN that no consumer has."""
        if subscriber.claims.role is not Role.SERVICE:
            return
        for hold in self.holds.adopt(lambda message: topics.matches(pattern, message.topic)):
            subscriber.offer(hold.message, min(1, hold.message.qos), hold)

    def unsubscribe(self, session: Session, pattern: str) -> None:
        """Remove a subscription; held messages that the session no longer asks for go back."""
        if session.filters.pop(pattern, None) is None:
            return
        self.router.unsubscribe(session, pattern)
        self._give_back(session)

    def _give_back(self, session: Session) -> None:
        def wanted(message: Message) -> bool:
            return any(qos and topics.matches(each, message.topic) for each, qos in session.filters.items())

        held = session.drop_held(wanted)
        for hold in held:
            self.holds.give_back(hold)
        if held:
            self.rehome()

    def rehome(self) -> None:
        """Hand orphans to a consumer that is still here."""
        for subscriber in [*self.links, *self.sessions]:
            for pattern, qos in subscriber.filters.items():
                if qos:
                    self.adopt(subscriber, pattern)

    # Sessions

    def open_session(self, connect: Connect, client_id: str, claims: Claims) -> tuple[Session, bool] | Refusal:
        """Return the session for an authorised CONNECT, and whether it was there before; nothing changes on a refusal.

        The caller has ended the connection that the session may have had.
        """
        owner = owner_of(claims)
        old = self.sessions.find(client_id)
        if old is not None:
            if connect.clean_session or old.clean:
                self.purge(old)
            else:
                old.claims, old.muted, old.absent_since = claims, False, None
                self.router.forget()
                return old, True
        elif claims.role is not Role.SERVICE:
            mine = self.sessions.of(owner)
            if len(mine) >= self.limits.sessions_per_user:
                absent = next((each for each in mine if each.outlet is None), None)
                if absent is None:
                    return Refusal.TOO_MANY
                self.purge(absent)
        session = Session(client_id, claims, self.limits, self.counters, clean=connect.clean_session)
        self.sessions.add(session)
        return session, False

    def leave(self, session: Session) -> None:
        """Its connection has ended: forget a clean session, keep another one."""
        session.detach(time.monotonic())
        if session.clean:
            self.purge(session)

    def purge(self, session: Session) -> None:
        """Forget SESSION and its subscriptions; what it held goes to other consumers, or waits for the next."""
        self.sessions.remove(session)
        for pattern in session.filters:
            self.router.unsubscribe(session, pattern)
        session.filters.clear()
        self._give_back(session)

    def link_opened(self) -> bool:
        """Return whether a link was served before."""
        before, self._served_a_link = self._served_a_link, True
        return before

    # Sending

    def touch(self, sender: Flushable) -> None:
        """Remember to flush SENDER; it keeps itself from being remembered twice."""
        self._dirty.append(sender)

    def flush(self) -> None:
        """Send what has gathered: one write a connection, however many messages it is."""
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for sender in dirty:
                sender.flush()

    def _made_room(self) -> None:
        waiting, self.gated = self.gated, set()
        for resume in waiting:
            resume()

    def snapshot(self, connections_open: int) -> Snapshot:
        """Return the counters as they stand; safe from any thread."""
        counters = self.counters
        return Snapshot(
            connections_open=connections_open,
            connections_total=counters.connections_total,
            sessions=len(self.sessions),
            subscriptions=self.router.subscriptions,
            retained=self.retained.count,
            held=self.holds.count,
            held_bytes=self.holds.bytes,
            messages_in=counters.messages_in,
            messages_out=counters.messages_out,
            wills=counters.wills,
            dropped={str(reason): count for reason, count in list(counters.dropped.items())},
            refused={str(reason): count for reason, count in list(counters.refused.items())},
            closed={str(reason): count for reason, count in list(counters.closed.items())},
        )
