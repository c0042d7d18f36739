"""Who may connect, under which client id, and until when: the plug-in's Python half, without Mosquitto in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from broker.access import may_connect
from broker.mosquitto.sessions import Owner, Session, Sessions, Stage, due_at
from broker.tokens import Revocations, Verifier
from models.errors import TokenRefused

RETRY_KICK_S = 10
"""A WebSocket connection ends some time after the kick; one that did not is kicked again."""
FIRST_LOOK_S = 1
"""A session that Mosquitto does not keep is gone a turn of its loop after its connection."""
NEXT_LOOK_S = 3600
"""How often to look whether a kept session has expired. A look leaves some 100 bytes with the session."""


class Broker(Protocol):
    """What the gate needs of Mosquitto."""

    def rename(self, pointer: int, username: str) -> bool:
        """Give the connection POINTER the username that decides about its messages."""

    def kick(self, client_id: str) -> bool:
        """End the connection of CLIENT_ID, with its will; whether Mosquitto knows a session of that id at all.

        Nothing happens to a session that is offline, so this also asks whether Mosquitto keeps it.
        """

    def log(self, text: str) -> None:
        """Tell the operator."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One CONNECT, or one session that Mosquitto asks about again. ADDRESS is None for one restored from disk."""

    pointer: int
    client_id: str
    username: str
    token: str | None
    address: str | None

    @property
    def proof(self) -> bytes:
        return hashlib.sha256((self.token or "").encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class Trust:
    """What is believed at present."""

    verifier: Verifier
    revocations: Revocations


class Gate:
    """Admits connections and ends them at their time. TRUST may be replaced while it works."""

    def __init__(self, trust: Trust, broker: Broker) -> None:
        self._trust = trust
        self._broker = broker
        self._sessions = Sessions()

    def admit(self, visit: Visit) -> bool:
        """Whether the CONNECT may go on; from here on its client id is its owner's."""
        reason = self._admit(visit)
        if reason is not None:
            self._broker.log(f"refused {visit.client_id!r} as {visit.username!r} from {visit.address}: {reason}")
        return reason is None

    def _admit(self, visit: Visit) -> str | None:
        try:
            claims = self._trust.verifier.verify(visit.token or "", visit.username)
        except TokenRefused as error:
            return str(error)
        if self._trust.revocations.cover(claims):
            return "revoked"
        if not may_connect(claims, visit.client_id):
            return "a client id that is not its own"
        owner = Owner.of(claims)
        holder = self._sessions.get(visit.client_id)
        if holder is not None and not owner.may_take_from(holder.owner) and self._is_kept(holder):
            return "a client id whose session is another's"
        if not self._broker.rename(visit.pointer, owner.username):
            return "out of memory"
        until_s = due_at(claims.expires_at)
        self._sessions.put(
            Session(visit.client_id, visit.pointer, owner, Stage.LIVE, until_s, claims, visit.proof),
        )
        return None

    def _is_kept(self, session: Session) -> bool:
        # Asking about a restored session is not harmless in Mosquitto 2.0: it ends it once more.
        return session.stage is not Stage.OFFLINE or self._broker.kick(session.client_id)

    def recheck(self, visit: Visit) -> bool:
        """Whether a session stays, about which Mosquitto asks again after SIGHUP, under its rewritten username.

        Refusing would end a connection without its will, and makes Mosquitto 2.0 put an offline session on its expiry
        list twice. So all stay that were admitted; a new connection cannot have the pointer and token of an old one.
        """
        session = self._sessions.get(visit.client_id)
        if session is not None and session.stage is not Stage.RESTORED:
            return (session.pointer, session.owner.username, session.proof) == (
                visit.pointer,
                visit.username,
                visit.proof,
            )
        owner = Owner.parse(visit.username)
        if owner is None or visit.address is not None or visit.token is not None:
            return False
        self._sessions.put(Session(visit.client_id, visit.pointer, owner, Stage.RESTORED, due_s=0))
        return True

    def disconnected(self, client_id: str, pointer: int, now: datetime) -> None:
        """A connection ended; its session may live on."""
        self._sessions.disconnected(client_id, pointer, due_at(now) + FIRST_LOOK_S)

    def tick(self, now: datetime) -> None:
        """End the connections whose token has expired, and forget the sessions that Mosquitto forgot."""
        now_s = int(now.timestamp())
        for session in self._sessions.pop_due(now_s):
            if session.stage is Stage.LIVE:
                self._end(session, "its token has expired", now_s)
            elif self._broker.kick(session.client_id):
                self._sessions.put(replace(session, due_s=now_s + NEXT_LOOK_S))
            else:
                self._sessions.forget(session)

    def trust(self, trust: Trust, now: datetime) -> None:
        """Believe TRUST from now on, and end what it revokes. What older keys admitted stays until its `exp`."""
        self._trust = trust
        for session in self._sessions.revoked(trust.revocations):
            self._end(session, "its token has been revoked", int(now.timestamp()))

    def _end(self, session: Session, reason: str, now_s: int) -> None:
        known = self._broker.kick(session.client_id)
        self._broker.log(f"ended {session.client_id!r} of {session.owner.username!r}: {reason}")
        if not known:
            self._sessions.forget(session)
        elif self._sessions.get(session.client_id) is session:  # over TCP the kick has called `disconnected` by now
            self._sessions.put(replace(session, due_s=now_s + RETRY_KICK_S))
