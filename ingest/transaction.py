"""One batch on its way into the database: people are advanced by each message in order, and what changed is written."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec.structs import astuple, replace
from sqlalchemy import Connection, Table

from ingest import history
from ingest.bulk import Row
from ingest.decode import Decoded, digest
from ingest.dialect import Dialect
from ingest.history import Entry
from ingest.register import Admitted
from ingest.sending import Sending
from models import people, presence
from models.events import Event, channel_of, encode_event
from models.facts import Ended, Heard, Said, Session, Signal, Worked
from models.payloads import Presence
from models.people import SESSION, Member
from models.queries import ACTIVITY, EVENT, HISTORY, PRESENCE, STATUS
from models.rows import PERSON_FACTS, RENEWAL_FACTS, SESSION_FACTS, only_renews, person_row, renewal_row, session_row
from models.standing import Person, Terms
from models.succession import UUID7_ENTROPY_BITS, Key, needs_siblings, uuid7

_FILED = ("newest_at", "newest_seq")
_SESSION = ("id", *_FILED, *SESSION_FACTS)
_NEW_SESSION = ("user_id", "device_id", *_SESSION, "token")
_RENEWAL = ("id", *_FILED, *RENEWAL_FACTS)
_PRESENCE = ("user_id", "rev", *PERSON_FACTS)
_EVENT = ("company_id", "user_id", "at", "recorded_at", "uuid", "channel", "type", "payload")
PART = 2000
"""The history is sent in parts of about so many rows: the database is busy with one while the next is worked out."""
_ALWAYS, _NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class _Changed(NamedTuple):
    """Rows to be written: sessions that are new, changed, or only renewed, and people."""

    new: list[Row]
    sessions: list[Row]
    renewals: list[Row]
    people: list[Row]


class Transaction:
    """What one batch changes. The history is sent as it comes, all else by `flush`."""

    def __init__(self, way: Sending, dialect: Dialect, terms: Terms, now: datetime) -> None:
        self._way = way
        self._dialect = dialect
        self._terms = terms
        self._now = now
        self._before: dict[int, tuple[Member, Person]] = {}
        self._new_sessions: set[int] = set()
        self._filed: set[int] = set()
        self._pending: dict[history.Id, Entry] = {}
        """What has yet to be sent to the history."""
        self._held: dict[history.Id, Entry] = {}
        """What is known to be in the history."""
        self._corrected: dict[history.Id, tuple[Entry, Entry]] = {}
        self.stored = 0
        """How many messages are new in the history."""
        self.copies = 0
        self.late = 0
        self._told: list[tuple[Member, Event]] = []
        self._activity: list[dict[str, Any]] = []
        self._status: list[dict[str, Any]] = []

    def advance(self, admitted: Admitted) -> None:
        """Advance each user by the user's messages, in order."""
        self._new_sessions |= admitted.new_sessions
        self._find_copies(admitted)
        for member, decoded in admitted.messages:
            self._apply(member, decoded)
        if len(self._pending) >= PART:
            self._send_history()

    def _find_copies(self, admitted: Admitted) -> None:
        """Find which messages the history holds, among those that may be copies (contract 4.6)."""
        wanted: set[history.Id] = set()
        since = _NEVER
        for member, decoded in admitted.messages:
            key = decoded.session
            if key is None:
                continue
            filed = member.filed[key]
            if filed.row_id not in self._new_sessions and not history.is_beyond(_presence(decoded), filed):
                wanted.add((filed.row_id, decoded.message))
                since = min(since, _began(member.person, key))
        wanted -= self._held.keys()
        if wanted:
            self._held |= history.copies(self._way.settled(), wanted, since)

    def _apply(self, member: Member, decoded: Decoded) -> None:
        person = member.person
        if member.user_id not in self._before:
            self._before[member.user_id] = member, person
        signal, key = decoded.signal, decoded.session
        if key is not None:
            if needs_siblings(person.sessions, signal):
                person = self._with_siblings(member, key[0])
            if self._file(member, key, decoded) and isinstance(signal, Heard) and signal.stamp.at == decoded.received:
                # Dated by its receipt, a copy would seem to be news.
                signal = signal.repeated()
        person, told = presence.advance(person, signal, self._terms)
        if key is not None and key not in person.sessions:
            person = replace(person, sessions={**person.sessions, key: Session(*key, first=decoded.received)})
        member.person = person
        if told:
            self._told.extend((member, event) for event in told)
        if not isinstance(signal, Heard) or signal.work is not None:
            self._log(member, decoded, signal)

    def _file(self, member: Member, key: Key, decoded: Decoded) -> bool:
        """File the message in the history; return whether it is a copy."""
        payload, filed = _presence(decoded), member.filed[key]
        entry = history.entry(member.user_id, filed.row_id, decoded, payload)
        id_ = filed.row_id, decoded.message
        if not history.is_beyond(payload, filed):
            if self._is_copy(id_, entry):
                return True
            # What tells neither time nor number is as new as its receipt.
            self.late += payload.seq is not None or payload.at is not None
        self._pending[id_] = entry
        self._filed.add(filed.row_id)
        history.file(payload, filed)
        return False

    def _is_copy(self, id_: history.Id, entry: Entry) -> bool:
        """Whether the history holds the message of ENTRY, which then is merged into what it holds."""
        if (held := self._held.get(id_)) is not None:
            self._held[id_] = merged = history.merged(held, entry)
            if merged != held:
                self._corrected[id_] = self._corrected.get(id_, (held,))[0], merged
        elif (pending := self._pending.get(id_)) is not None:
            self._pending[id_] = history.merged(pending, entry)
        else:
            return False
        self.copies += 1
        return True

    def _with_siblings(self, member: Member, device: str) -> Person:
        """Return the user with all sessions of DEVICE."""
        before = self._before[member.user_id][1]
        person = member.person
        found = people.device_sessions(self._way.settled(), member, device)
        self._before[member.user_id] = member, replace(before, sessions={**found, **before.sessions})
        member.person = replace(person, sessions={**found, **person.sessions})
        return member.person

    def settle(self, members: Iterable[Member]) -> None:
        """Let the time up to now change what it may of MEMBERS."""
        for member in members:
            self._before[member.user_id] = member, member.person
            member.person, told = presence.settle(member.person, self._now, self._terms)
            self._told.extend((member, event) for event in told)

    def end(self, member: Member, signal: Ended) -> None:
        """End leases of the user for a reason that came by no message."""
        self._before[member.user_id] = member, member.person
        member.person, told = presence.advance(member.person, signal, self._terms)
        self._told.extend((member, event) for event in told)

    def _log(self, member: Member, decoded: Decoded, signal: Signal) -> None:
        match signal:
            case Heard(work=work, device=device) if work is not None:
                said = repr((device, work.project, work.task)).encode()
                self._activity.append(_activity_row(member.user_id, decoded, device, digest(said)))
            case Worked():
                named = getattr(decoded.payload, "device", None)
                self._activity.append(_activity_row(member.user_id, decoded, named, decoded.message))
            case Said(text=text):
                if member.person.text is text:
                    row = {"user_id": member.user_id, "set_at": text.set_at, "message": text.message}
                    self._status.append(row | {"until": text.until})

    @property
    def events(self) -> int:
        return len(self._told)

    @property
    def touched(self) -> frozenset[int]:
        """The users who were heard of."""
        return frozenset(self._before)

    def flush(self) -> None:
        """Send all that changed."""
        self._send_history()
        self._send_people(self._changed())
        connection = self._way.settled()
        history.correct(connection, self._corrected.values())
        self._insert_new(connection, ACTIVITY, self._activity)
        self._insert_new(connection, STATUS, self._status)
        self._write_events(connection)

    def _send_history(self) -> None:
        if not self._pending:  # as in every sweep
            return
        # In the order of the key: databases are many times faster when neighbours are written together.
        entries = sorted(self._pending.values(), key=attrgetter("user_id", "at"))
        self._way.send(self._dialect.inserting(HISTORY, history.COLUMNS).pack(map(astuple, entries)))
        self.stored += len(entries)
        self._held |= self._pending
        self._pending = {}

    def _changed(self) -> _Changed:
        """Return the rows of people that changed."""
        changed = _Changed([], [], [], [])
        for member, before in self._before.values():
            self._collect_sessions(member, before, changed)
            person = member.person
            same = person.announced is before.announced and person.work is before.work and person.text is before.text
            if not same or person.due != before.due or person.rev != before.rev:
                changed.people.append((member.user_id, person.rev - before.rev, *person_row(person)))
        return changed

    def _send_people(self, changed: _Changed) -> None:
        inserting, updating = self._dialect.inserting, self._dialect.updating
        for bulk, rows in (
            (inserting(SESSION, _NEW_SESSION), changed.new),
            (updating(SESSION, _SESSION), changed.sessions),
            (updating(SESSION, _RENEWAL), changed.renewals),
            # The outbox counts up `rev` as well, for states that only moved.
            (updating(PRESENCE, _PRESENCE, adding=("rev",)), changed.people),
        ):
            if rows:
                self._way.send(bulk.pack(rows))

    def _collect_sessions(self, member: Member, before: Person, changed: _Changed) -> None:
        """Add the rows of the user's sessions that CHANGED; those that no longer matter are forgotten."""
        sessions, over = member.person.sessions, []
        for key, session in sessions.items():
            if session.superseded is not None:
                over.append(key)
            filed, was = member.filed[key], before.sessions.get(key)
            if session is was and filed.row_id not in self._filed:
                continue
            head = filed.row_id, filed.newest_at, filed.newest_seq
            if filed.row_id in self._new_sessions:
                changed.new.append((member.user_id, member.devices[key[0]], *head, *session_row(session), key[1]))
            elif was is not None and only_renews(session, was):
                changed.renewals.append((*head, *renewal_row(session)))
            else:
                changed.sessions.append((*head, *session_row(session)))
        if over:
            member.person = replace(member.person, sessions={k: s for k, s in sessions.items() if k not in over})
            for key in over:
                del member.filed[key]

    def _insert_new(self, connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            connection.execute(self._dialect.insert(table).on_conflict_do_nothing(), rows)

    def _write_events(self, connection: Connection) -> None:
        if self._told:
            rows = [self._event_row(member, event) for member, event in self._told]
            self._dialect.inserting(EVENT, _EVENT).write(connection, rows)

    def _event_row(self, member: Member, event: Event) -> tuple[Any, ...]:
        event_id = uuid7(datetime.now(UTC), secrets.randbits(UUID7_ENTROPY_BITS))
        payload = encode_event(event, event_id, *member.name)
        channel = channel_of(event).value
        return member.company_id, member.user_id, event.at, self._now, event_id, channel, event.type, payload


def _began(person: Person, key: Key) -> datetime:
    """Return a time before which none of the session's messages was received; the empty session may have begun anew."""
    session = person.sessions.get(key)
    return session.first if session is not None and session.id else _ALWAYS


def _presence(decoded: Decoded) -> Presence:
    payload = decoded.payload
    assert isinstance(payload, Presence)  # noqa: S101 only presence messages have a session
    return payload


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
