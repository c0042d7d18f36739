"""One batch on its way into the database: people are loaded, advanced by each message in order, and written back."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Table, bindparam, insert, update

from ingest.decode import Decoded, Rejected, digest
from ingest.dialect import Dialect
from ingest.history import history_row, history_statement
from ingest.register import DeviceName, Name, UserIds
from models import presence, queries, topics
from models.events import Event, channel_of, encode_event
from models.facts import Ended, Heard, Said, Session, Signal, Worked
from models.presence import Person, Terms
from models.queries import ACTIVITY, EVENT, PRESENCE, REJECTED, SESSION, STATUS, Loaded
from models.rows import presence_row, session_row
from models.succession import UUID7_ENTROPY_BITS, Key, needs_siblings, uuid7

_HEAD_BYTES = 256
_TOPIC_CHARS = 256
_REASON_CHARS = 240


Known = dict[int, tuple[Person, dict[Key, int]]]
"""People by user id, each with the ids of the rows that hold their sessions."""


class Transaction:
    """What one batch knows and changes. Nothing is written before `flush`."""

    def __init__(self, connection: Connection, dialect: Dialect, terms: Terms, now: datetime) -> None:
        self._connection = connection
        self._dialect = dialect
        self._terms = terms
        self._now = now
        self._names: dict[int, tuple[Name, UserIds]] = {}
        self._devices: dict[DeviceName, int] = {}
        self._loaded = Loaded({}, {})
        self._before: dict[int, Person] = {}
        self._told: list[tuple[int, Event]] = []
        self._history: list[tuple[int, Key, Decoded]] = []
        self._activity: list[dict[str, Any]] = []
        self._status: list[dict[str, Any]] = []
        self._known: set[tuple[int, Key, int]] = set()

    def load(self, users: Mapping[Name, UserIds], known: Known) -> None:
        """Load and lock the people that USERS are, but for those who are KNOWN to be as they were."""
        self._names = {ids.user: (name, ids) for name, ids in users.items()}
        unknown = [user_id for user_id in self._names if user_id not in known]
        if unknown:
            self._loaded = queries.load_people(self._connection, unknown, lock=self._dialect.locks_rows)
        for user_id in self._names:
            if (remembered := known.get(user_id)) is not None:
                self._loaded.people[user_id], rows = remembered
                self._loaded.session_ids.update({(user_id, key): row_id for key, row_id in rows.items()})
        self._before = dict(self._loaded.people)

    def known(self) -> Known:
        """Return the people as they are after `flush`, with the rows of the sessions that may still matter."""
        people: Known = {}
        for user_id, person in self._loaded.people.items():
            rows = {
                key: self._loaded.session_ids[user_id, key]
                for key, session in person.sessions.items()
                if session.superseded is None
            }
            sessions = {key: person.sessions[key] for key in rows}
            people[user_id] = replace(person, sessions=sessions) if len(rows) < len(person.sessions) else person, rows
        return people

    def load_devices(self, devices: Mapping[DeviceName, int], batch: Sequence[tuple[int, Decoded]]) -> None:
        """Load the sessions that the messages of BATCH name, pairs of user and message, if they are not their device's newest."""
        self._devices = dict(devices)
        wanted = set()
        for user_id, decoded in batch:
            key = decoded.session
            if key is not None and (user_id, key) not in self._loaded.session_ids:
                wanted.add((devices[user_id, key[0]], key[1]))
        if wanted:
            queries.load_sessions(self._connection, self._loaded, wanted)
            self._before = dict(self._loaded.people)
        self._find_repeats(batch)

    def _find_repeats(self, batch: Sequence[tuple[int, Decoded]]) -> None:
        """Find which of the messages that are dated by their receipt were stored before (contract 4.6)."""
        wanted = {}
        for user_id, decoded in batch:
            key = decoded.session
            if key is not None and _has_no_time(decoded):
                row_id = self._loaded.session_ids.get((user_id, key))
                if row_id is not None:
                    wanted[row_id, decoded.message] = (user_id, key, decoded.message)
        if wanted:
            self._known = {wanted[pair] for pair in queries.known_messages(self._connection, wanted.keys())}

    def apply(self, user_id: int, decoded: Decoded) -> None:
        """Advance the user by one message."""
        signal, key = decoded.signal, decoded.session
        person = self._loaded.people[user_id]
        if key is not None:
            if needs_siblings(person.sessions, signal):
                person = self._with_siblings(user_id, person, key[0])
            if _has_no_time(decoded):
                if isinstance(signal, Heard) and (user_id, key, decoded.message) in self._known:
                    signal = signal.repeated()
                self._known.add((user_id, key, decoded.message))
            self._history.append((user_id, key, decoded))
        person, told = presence.advance(person, signal, self._terms)
        if key is not None and key not in person.sessions:
            person = presence.with_sessions(person, {key: Session(*key, first=decoded.received)}, keep=person.sessions)
        self._loaded.people[user_id] = person
        self._told.extend((user_id, event) for event in told)
        self._log(user_id, decoded, signal)

    def _with_siblings(self, user_id: int, person: Person, device: str) -> Person:
        """Return PERSON with all sessions of DEVICE."""
        siblings = queries.load_siblings(self._connection, self._loaded, self._devices[user_id, device])
        before = self._before[user_id]
        self._before[user_id] = presence.with_sessions(before, siblings, keep=before.sessions)
        return presence.with_sessions(person, siblings, keep=person.sessions)

    def settle(self) -> None:
        """Let the time up to now change what it may of all people loaded."""
        for user_id, person in self._loaded.people.items():
            self._loaded.people[user_id], told = presence.settle(person, self._now, self._terms)
            self._told.extend((user_id, event) for event in told)

    def end(self, user_id: int, signal: Ended) -> None:
        """End leases of the user for a reason that came by no message."""
        person, told = presence.advance(self._loaded.people[user_id], signal, self._terms)
        self._loaded.people[user_id] = person
        self._told.extend((user_id, event) for event in told)

    def _log(self, user_id: int, decoded: Decoded, signal: Signal) -> None:
        match signal:
            case Heard(work=work, device=device) if work is not None:
                said = repr((device, work.project, work.task)).encode()
                self._activity.append(_activity_row(user_id, decoded, device, digest(said)))
            case Worked():
                self._activity.append(
                    _activity_row(user_id, decoded, getattr(decoded.payload, "device", None), decoded.message)
                )
            case Said(text=text):
                row = {"user_id": user_id, "set_at": text.set_at, "message": text.message, "until": text.until}
                if self._loaded.people[user_id].text is text:
                    self._status.append(row)

    @property
    def events(self) -> int:
        return len(self._told)

    def flush(self) -> int:
        """Write all that changed; return how many messages of the history are new."""
        self._write_sessions()
        self._write_presences()
        stored = self._write_history()
        self._insert_new(ACTIVITY, self._activity)
        self._insert_new(STATUS, self._status)
        self._write_events()
        return stored

    def _write_sessions(self) -> None:
        new, old = [], []
        for user_id, person in self._loaded.people.items():
            before = self._before[user_id].sessions
            if person.sessions is before:
                continue
            for key, session in person.sessions.items():
                if session is before.get(key):
                    continue
                row_id = self._loaded.session_ids.get((user_id, key))
                if row_id is not None:
                    old.append(session_row(session) | {"b_id": row_id})
                else:
                    new.append((user_id, key, session))
        if new:
            rows = [self._new_session(*one) for one in new]
            ids = self._connection.execute(insert(SESSION).returning(SESSION.c.id, sort_by_parameter_order=True), rows)
            for (user_id, key, _), row_id in zip(new, ids.scalars(), strict=True):
                self._loaded.session_ids[user_id, key] = row_id
        if old:
            self._dialect.bulk("sessions", lambda: _UPDATE_SESSION).execute(self._connection, old)

    def _new_session(self, user_id: int, key: Key, session: Session) -> dict[str, Any]:
        names = {"user_id": user_id, "device_id": self._devices[user_id, key[0]], "token": key[1]}
        return names | session_row(session)

    def _write_presences(self) -> None:
        rows = []
        for user_id, person in self._loaded.people.items():
            was = self._before[user_id]
            same = person.announced is was.announced and person.work is was.work and person.text is was.text
            if not same or person.due != was.due or person.rev != was.rev:
                rows.append(presence_row(person) | {"b_id": user_id, "b_newer": person.rev - was.rev})
        if rows:
            self._dialect.bulk("presences", lambda: _UPDATE_PRESENCE).execute(self._connection, rows)

    def _write_history(self) -> int:
        if not self._history:
            return 0
        rows = [
            history_row(user_id, self._loaded.session_ids[user_id, key], decoded)
            for user_id, key, decoded in self._history
        ]
        # In the order of the key: SQLite is many times faster when neighbours are written together.
        rows.sort(key=lambda row: (row["user_id"], row["at"]))
        statement = self._dialect.bulk("history", lambda: history_statement(self._dialect))
        return statement.execute(self._connection, rows)

    def _insert_new(self, table: Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            self._connection.execute(self._dialect.insert(table).on_conflict_do_nothing(), rows)

    def _write_events(self) -> None:
        if self._told:
            self._connection.execute(insert(EVENT), [self._event_row(user_id, event) for user_id, event in self._told])

    def _event_row(self, user_id: int, event: Event) -> dict[str, Any]:
        (company, user), ids = self._names[user_id]
        event_id = uuid7(datetime.now(UTC), secrets.randbits(UUID7_ENTROPY_BITS))
        return {
            "uuid": event_id,
            "company_id": ids.company,
            "user_id": user_id,
            "channel": str(channel_of(event)),
            "type": event.type,
            "at": event.at,
            "recorded_at": self._now,
            "payload": encode_event(event, event_id, company, user),
        }


_UPDATE_SESSION = (
    update(SESSION)
    .where(SESSION.c.id == bindparam("b_id"))
    .values({c.name: bindparam(c.name) for c in SESSION.c if c.name not in {"id", "user_id", "device_id", "token"}})
)
_UPDATE_PRESENCE = (
    update(PRESENCE)
    .where(PRESENCE.c.user_id == bindparam("b_id"))
    # The outbox counts up `rev` as well, for states that only moved.
    .values(rev=PRESENCE.c.rev + bindparam("b_newer"))
    .values({c.name: bindparam(c.name) for c in PRESENCE.c if c.name not in {"user_id", "rev", "published_rev"}})
)


def _has_no_time(decoded: Decoded) -> bool:
    """Whether DECODED is a heartbeat that is dated by its receipt: it gives no time, or one that is not believed."""
    return isinstance(decoded.signal, Heard) and decoded.signal.stamp.at == decoded.received


def _activity_row(user_id: int, decoded: Decoded, device: str | None, message: int) -> dict[str, Any]:
    work = decoded.signal.work  # type: ignore[union-attr] # only signals with work come here
    return {
        "user_id": user_id,
        "at": work.stamp.at,  # type: ignore[union-attr] # likewise
        "digest": message,
        "received_at": decoded.received,
        "device": device,
        "project": work.project,  # type: ignore[union-attr] # likewise
        "task": work.task,  # type: ignore[union-attr] # likewise
    }


def rejected_row(refused: Rejected) -> dict[str, Any]:
    """Return the row that keeps REFUSED: its topic, its reason, its size and its first bytes."""
    levels = refused.topic.split("/")
    company = levels[1] if len(levels) > 1 and topics.is_id(levels[1]) else None
    return {
        "received_at": refused.received,
        "company": company,
        "topic": _storable(refused.topic)[:_TOPIC_CHARS],
        "reason": _storable(refused.reason)[:_REASON_CHARS],
        "size": len(refused.payload),
        "head": refused.payload[:_HEAD_BYTES],
    }


def _storable(text: str) -> str:
    """Return TEXT with what a database could not store written out."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def write_rejected(connection: Connection, refused: Iterable[Rejected]) -> int:
    """Keep the messages REFUSED; return how many."""
    rows = [rejected_row(one) for one in refused]
    if rows:
        connection.execute(insert(REJECTED), rows)
    return len(rows)
