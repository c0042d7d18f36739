"""The way in and the way out: connections are admitted, watched, and ended when their time is up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Final

from broker.access import Role
from broker.embedded import admission
from broker.embedded.admission import Admitted, IsRevoked, Verify
from broker.embedded.connect import Connect, OtherVersion, connack
from broker.embedded.connection import Connection
from broker.embedded.counters import Closing, Refusal
from broker.embedded.exchange import Exchange
from broker.embedded.frames import Malformed
from broker.embedded.wires import Wire

log = logging.getLogger(__name__)

_CHECK_INTERVAL_S: Final = 0.5


class Gateway:
    """All connections of the broker. `serve` is the life of one of them; `watch` runs beside them."""

    def __init__(self, exchange: Exchange, verify: Verify, is_revoked: IsRevoked) -> None:
        self._exchange = exchange
        self._limits = exchange.limits
        self._verify = verify
        self._is_revoked = is_revoked
        self._strangers: dict[Connection, None] = {}
        """Connections whose CONNECT has not been accepted, oldest first."""
        self._connections: set[Connection] = set()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._connections)

    async def serve(self, wire: Wire) -> None:
        """Serve one connection until it ends."""
        connection = Connection(wire, self._exchange)
        self._exchange.counters.connections_total += 1
        if self._stopped or len(self._connections) >= self._limits.connections:
            self._refuse(connection, Refusal.FULL)
            return
        while len(self._strangers) >= self._limits.unauthenticated:
            self._refuse(next(iter(self._strangers)), Refusal.FULL)
        self._strangers[connection] = None
        try:
            admitted = await self._introduce(connection)
        finally:
            self._strangers.pop(connection, None)
        if not admitted:
            return
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            # Only a fault of ours leaves it unfinished; the device's will must come all the same.
            connection.finish(Closing.FAILED)

    async def _introduce(self, connection: Connection) -> bool:
        """Read the CONNECT and answer it; return whether the connection has begun."""
        try:
            connect = await connection.connect()
        except Malformed as error:
            log.info("no CONNECT: %s", error, extra={"action": "connect_malformed"})
            self._refuse(connection, Refusal.MALFORMED)
            return False
        except OSError:
            connect = None
        if connection.finished:
            return False
        match connect:
            case None:
                connection.refuse()
            case OtherVersion(answer):
                self._refuse(connection, Refusal.VERSION, answer)
            case Connect():
                return self._begin(connection, connect)
        return False

    def _begin(self, connection: Connection, connect: Connect) -> bool:
        """Let CONNECTION in, unless something is against it; it all happens at once, so nobody sees half of it."""
        exchange = self._exchange
        find = exchange.sessions.find
        admitted = admission.admit(connect, self._limits.client_id, self._verify, self._is_revoked, find)
        if isinstance(admitted, Admitted):
            old = find(admitted.client_id)
            if old is not None and isinstance(old.outlet, Connection):
                old.outlet.finish(Closing.TAKEN_OVER)  # [MQTT-3.1.4-2]
            opened = exchange.open_session(connect, admitted.client_id, admitted.claims)
        else:
            opened = admitted
        if isinstance(opened, Refusal):
            answer = connack(admission.code(opened))
            self._refuse(connection, opened, answer, client_id=connect.client_id)
            return False
        session, present = opened
        connection.begin(connect, session, session_present=present)
        return True

    def _refuse(self, connection: Connection, reason: Refusal, answer: bytes = b"", *, client_id: str = "") -> None:
        self._exchange.counters.refused[reason] += 1
        facts = {"action": "connect_refused", "reason": str(reason), "client_id": client_id[:80]}
        log.info("connection refused: %s", reason, extra=facts)
        self._strangers.pop(connection, None)
        connection.refuse(answer)

    async def watch(self) -> None:
        """Forever end what has had its time: silence, tokens, half packets, strangers, absent sessions."""
        while True:
            await asyncio.sleep(_CHECK_INTERVAL_S)
            self.check()

    def check(self) -> None:
        """Look at every connection and session once."""
        now, wall = time.monotonic(), time.time()
        for connection in [each for each in self._strangers if now - each.opened_at > self._limits.connect_timeout_s]:
            self._refuse(connection, Refusal.TIMEOUT)
        for connection, reason in list(self._overdue(now, wall)):
            connection.finish(reason)
        for session in self._exchange.sessions:
            if session.outlet is not None:
                continue
            if self._is_revoked(session.claims) or now - (session.absent_since or now) > self._limits.session_expiry_s:
                self._exchange.purge(session)
            elif session.claims.role is not Role.SERVICE and session.claims.expires_at.timestamp() <= wall:
                session.muted = True
        self._exchange.flush()

    def _overdue(self, now: float, wall: float) -> Iterator[tuple[Connection, Closing]]:
        for connection in self._connections:
            session = connection.session
            if session is None or connection.finished:
                continue
            if session.claims.expires_at.timestamp() <= wall:
                yield connection, Closing.TOKEN_EXPIRED
            elif self._is_revoked(session.claims):
                yield connection, Closing.TOKEN_REVOKED
            elif not connection.gated and now - connection.heard_at > connection.keepalive_s:
                yield connection, Closing.KEEPALIVE  # [MQTT-3.1.2-24]
            elif (
                connection.packet_began_at is not None
                and not connection.gated
                and now - connection.packet_began_at > self._limits.packet_timeout_s
            ):
                yield connection, Closing.PACKET_TIMEOUT
            elif connection.stuck_since is not None and now - connection.stuck_since > self._limits.write_timeout_s:
                yield connection, Closing.SLOW_CONSUMER

    def stop(self) -> None:
        """End every connection, without wills: a broker that stops says nothing about its devices."""
        self._stopped = True
        for stranger in list(self._strangers):
            stranger.refuse()
        for connection in list(self._connections):
            connection.finish(Closing.STOPPED)
