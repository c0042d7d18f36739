"""Which of a device's sessions is the newest, and what a new one does to those before it.

Only a session that was heard supersedes others: the will of a session that nobody heard touches nothing but itself (contract 4.3).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from models.facts import CLOCK_SKEW, Ended, Heard, Session, Signal, earliest, inherit, latest

Key = tuple[str, str]
"""A session of a user: device id and session id."""

OLDEST_ID_TIME = datetime(2015, 1, 1, tzinfo=UTC)
"""A session id minted before this comes from a clock that was reset."""

_CROCKFORD = {digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_ULID_TIME_CHARS = 10
_UUID7 = re.compile(r"([0-9A-F]{8})-([0-9A-F]{4})-7[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}")
_LAST_MS = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp() * 1000)
UUID7_ENTROPY_BITS = 74
"""The bits of a UUIDv7 that are neither time nor version [RFC 9562 section 5.7]."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def uuid7(made_at: datetime, entropy: int) -> str:
    """Return a UUIDv7 made of a time and of ENTROPY's lowest `UUID7_ENTROPY_BITS` [RFC 9562 section 5.7]."""
    ms = int(made_at.timestamp() * 1000) & (1 << 48) - 1
    high, low = entropy >> 62 & (1 << 12) - 1, entropy & (1 << 62) - 1
    return str(uuid.UUID(int=ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))


def minted(session_id: str) -> datetime | None:
    """Return when a ULID or UUIDv7 was made, by the clock that made it; None for other ids [RFC 9562 section 5.7]."""
    text = session_id.upper()
    ms = 0
    if _ULID.fullmatch(text):
        for digit in text[:_ULID_TIME_CHARS]:
            ms = ms * 32 + _CROCKFORD[digit]
    elif found := _UUID7.fullmatch(text):
        ms = int(found[1] + found[2], 16)
    else:
        return None
    return _EPOCH + timedelta(milliseconds=ms) if ms < _LAST_MS else None


def _believed_mint(session: Session) -> datetime | None:
    time = minted(session.id)
    return time if time is not None and OLDEST_ID_TIME <= time <= session.first + CLOCK_SKEW else None


def newer(one: Session, other: Session) -> bool:
    """Whether ONE is a newer session of the same device than OTHER: by the ids where both tell a time, else by first receipt."""
    mine, theirs = _believed_mint(one), _believed_mint(other)
    if mine is not None and theirs is not None:
        return (mine, one.id.upper()) > (theirs, other.id.upper())
    return (one.first, one.id) > (other.first, other.id)


def needs_siblings(sessions: Mapping[Key, Session], signal: Signal) -> bool:
    """Whether absorbing SIGNAL takes all sessions of its device, not only the newest: it is late, overtaken, or follows its own end."""
    if not isinstance(signal, (Heard, Ended)) or not signal.session or signal.device is None:
        return False
    session = sessions.get((signal.device, signal.session))
    if session is not None:
        return signal.received < session.first or (session.heard is None and isinstance(signal, Heard))
    new = Session(signal.device, signal.session, signal.received)
    return any(
        not newer(new, other) or other.first > signal.received
        for other in sessions.values()
        if other.device == signal.device and other.id
    )


def join(sessions: dict[Key, Session], key: Key, received: datetime, heard: datetime | None = None) -> None:
    """Make sure that the session KEY is among SESSIONS, first seen no later than RECEIVED, and in its place among them.

    HEARD is the receipt of the heartbeat that makes it join, None where its end does.
    """
    known = sessions.get(key)
    if known is None:
        sessions[key] = session = Session(*key, first=received, heard=heard)
        if session.id:
            _succeed(sessions, session)
    elif known.id and received < known.first:
        sessions[key] = replace(known, first=received, heard=latest(known.heard, heard))
        _succeed_anew(sessions, known.device)
    elif known.id and known.heard is None and heard is not None:
        sessions[key] = session = replace(known, heard=heard)
        _succeed(sessions, session)


def _succeed(sessions: dict[Key, Session], session: Session) -> None:
    """Let SESSION, once heard, supersede those that it is newer than and take over their reports, and be superseded by the others."""
    key = session.key
    for other_key, other in list(sessions.items()):
        if other.device != session.device or other_key == key:
            continue
        if newer(session, other) if other.id else other.heard is None or session.first > other.heard:
            if session.heard is not None:
                sessions[other_key] = replace(other, superseded=earliest(other.superseded, session.first))
                session = inherit(session, other)
        elif other.id and other.heard is not None:
            session = replace(session, superseded=earliest(session.superseded, other.first))
    sessions[key] = session


def _succeed_anew(sessions: dict[Key, Session], device: str) -> None:
    """Work out the succession of DEVICE's sessions from scratch: one of them turned out to be older than it seemed."""
    mine = [session for session in sessions.values() if session.device == device and session.id]
    for session in mine:
        firsts = [other.first for other in mine if other.heard is not None and newer(other, session)]
        sessions[session.key] = replace(session, superseded=min(firsts, default=None))
    newest = current(sessions, device)
    if newest is not None:
        for session in mine:
            sessions[newest] = inherit(sessions[newest], session)


def current(sessions: Mapping[Key, Session], device: str) -> Key | None:
    """Return the session of DEVICE that no newer one supersedes; of the empty and a named one, the one heard last."""
    mine = [session for session in sessions.values() if session.device == device and session.superseded is None]
    if not mine:
        return None
    return max(mine, key=lambda session: (session.heard is not None, session.heard or session.first, session.id)).key
