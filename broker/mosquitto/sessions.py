"""Who holds which client id: the live connections with their end, and the sessions that outlive their connection."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import NamedTuple, Self

from broker.access import Claims, Role
from broker.tokens import Revocations


class Owner(NamedTuple):
    """Whose a session is; also the username that Mosquitto keeps for it, on disk too."""

    role: Role
    company: str
    user: str

    @classmethod
    def of(cls, claims: Claims) -> Self:
        return cls(claims.role, claims.company, claims.user)

    @classmethod
    def parse(cls, username: str) -> Self | None:
        """Return the owner that the rewritten USERNAME names, or None."""
        parts = username.split("|")
        if len(parts) != len(cls._fields) or parts[0] not in set(Role):
            return None
        return cls(Role(parts[0]), parts[1], parts[2])

    @property
    def username(self) -> str:
        """The rewritten username; no id holds a `|`, so it can be read back."""
        return f"{self.role}|{self.company}|{self.user}"

    def may_take_from(self, other: Owner) -> bool:
        """Whether this owner may use the client id of OTHER's session. The services are one party: the operator."""
        return self == other or self.role is other.role is Role.SERVICE


class Stage(Enum):
    """What we know of a session."""

    LIVE = auto()
    OFFLINE = auto()
    """Its connection has ended; Mosquitto may keep it or not, and does not tell."""
    RESTORED = auto()
    """Mosquitto read it from disk."""


@dataclass(frozen=True, slots=True)
class Session:
    """One client id. POINTER is Mosquitto's connection; `due_s` is the POSIX time at which to look at it again."""

    client_id: str
    pointer: int
    owner: Owner
    stage: Stage
    due_s: int
    claims: Claims | None = None
    proof: bytes = b""
    """A digest of its token."""


class Sessions:
    """All sessions by client id. One entry an id: a takeover replaces the entry before the old connection ends."""

    def __init__(self) -> None:
        self._by_id: dict[str, Session] = {}
        self._due: list[tuple[int, str, int]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, client_id: str) -> Session | None:
        return self._by_id.get(client_id)

    def put(self, session: Session) -> None:
        """Keep SESSION as the one of its client id, to be looked at when it is due."""
        self._by_id[session.client_id] = session
        if session.stage is not Stage.RESTORED:
            heapq.heappush(self._due, (session.due_s, session.client_id, session.pointer))

    def forget(self, session: Session) -> None:
        """Drop SESSION, unless another one has its client id by now."""
        if self._by_id.get(session.client_id) is session:
            del self._by_id[session.client_id]

    def disconnected(self, client_id: str, pointer: int, look_again_s: int) -> None:
        """The connection POINTER ended. Nothing happens when a takeover has replaced it."""
        session = self._by_id.get(client_id)
        if session is not None and session.pointer == pointer and session.stage is Stage.LIVE:
            self.put(replace(session, stage=Stage.OFFLINE, due_s=look_again_s))

    def pop_due(self, now_s: int) -> Iterator[Session]:
        """Yield, once each, the sessions that are due. Put a session back with a later time to keep it in view."""
        while self._due and self._due[0][0] <= now_s:
            due_s, client_id, pointer = heapq.heappop(self._due)
            session = self._by_id.get(client_id)
            if session is not None and (session.due_s, session.pointer) == (due_s, pointer):
                yield session

    def revoked(self, revocations: Revocations) -> list[Session]:
        """Return the live sessions whose token REVOCATIONS cover."""
        return [
            session
            for session in self._by_id.values()
            if session.stage is Stage.LIVE and session.claims is not None and revocations.cover(session.claims)
        ]


def due_at(time: datetime) -> int:
    """Return TIME as the first whole POSIX second at or after it."""
    return -int(-time.timestamp() // 1)
