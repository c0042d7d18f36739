"""Facts as table rows and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from models.facts import Battery, Fix, Reason, Session, Stamp, Status, Text, Word, Work
from models.standing import Announced, Person
from models.succession import Key

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

_devices_to_json = msgspec.json.Encoder()
_devices_from_json = msgspec.json.Decoder(tuple[tuple[str, str], ...])


RENEWAL_FACTS = (
    "heard_at", "word_at", "word_seq", "battery", "battery_at", "battery_seq",
    "latitude", "longitude", "accuracy", "fix_at", "fix_seq",
)  # fmt: skip
"""The columns of `DeviceSession` in which an everyday heartbeat changes a session."""
SESSION_FACTS = (
    "first_at", "lost_at", "left_at", "superseded_at", "lapsed_at", "seen_before", "work_at", "work_seq", *RENEWAL_FACTS,
    "left_reason", "word", "project", "task",
)  # fmt: skip
"""The columns of `DeviceSession` that hold a session's facts."""
PERSON_FACTS = (
    "since", "message_updated_at", "work_at", "text_set_at", "text_until", "due_at",
    "status", "reason", "project", "task", "message", "devices", "work_project", "work_task", "text_message",
)  # fmt: skip
"""The columns of `PresenceRow` that hold what is known of a person, all but the revs."""

_NO_FIX: Final = (None, None, None, None, None)


def only_renews(session: Session, was: Session) -> bool:
    """Whether SESSION differs from what it WAS in `RENEWAL_FACTS` alone."""
    if session.word is None or was.word is None or session.word.status is not was.word.status:
        return False
    return (
        session.first is was.first
        and session.work is was.work
        and session.lapsed is was.lapsed
        and session.lost is was.lost
        and session.left is was.left
        and session.superseded is was.superseded
        and session.seen_before is was.seen_before
    )


def renewal_row(session: Session) -> tuple[Any, ...]:
    """Return the values of `RENEWAL_FACTS` that hold SESSION."""
    word, battery, fix = session.word, session.battery, session.fix
    return (
        session.heard,
        *((None, None) if word is None else (word.stamp.at, word.stamp.seq)),
        *((None, None, None) if battery is None else (battery.percent, battery.stamp.at, battery.stamp.seq)),
        *(_NO_FIX if fix is None else (fix.latitude, fix.longitude, fix.accuracy, fix.stamp.at, fix.stamp.seq)),
    )


def session_row(session: Session) -> tuple[Any, ...]:
    """Return the values of `SESSION_FACTS` that hold SESSION."""
    work = session.work
    return (
        session.first,
        session.lost,
        session.left,
        session.superseded,
        session.lapsed,
        session.seen_before,
        *((None, None) if work is None else (work.stamp.at, work.stamp.seq)),
        *renewal_row(session),
        session.left_reason.value,
        session.word and session.word.status.value,
        work and work.project,
        work and work.task,
    )


def session_of(row: RowMapping, device: str) -> Session:
    """Return the facts that ROW of `DeviceSession` holds, of the device named DEVICE."""
    battery_at, fix_at, word_at, work_at = row["battery_at"], row["fix_at"], row["word_at"], row["work_at"]
    return Session(
        device=device,
        id=row["token"],
        first=row["first_at"],
        heard=row["heard_at"],
        lost=row["lost_at"],
        left=row["left_at"],
        left_reason=_REASONS[row["left_reason"]],
        superseded=row["superseded_at"],
        lapsed=row["lapsed_at"],
        word=None if word_at is None else Word(Stamp(word_at, row["word_seq"]), _STATUSES[row["word"]]),
        seen_before=row["seen_before"],
        battery=None if battery_at is None else Battery(Stamp(battery_at, row["battery_seq"]), row["battery"]),
        fix=None if fix_at is None else _fix(row, fix_at),
        work=None if work_at is None else Work(Stamp(work_at, row["work_seq"]), row["project"], row["task"]),
    )


_REASONS = {str(reason): reason for reason in Reason}
_STATUSES = {str(status): status for status in Status}


def _fix(row: RowMapping, fix_at: datetime) -> Fix:
    return Fix(Stamp(fix_at, row["fix_seq"]), row["latitude"], row["longitude"], row["accuracy"])


def person_row(person: Person) -> tuple[Any, ...]:
    """Return the values of `PERSON_FACTS` that hold PERSON."""
    said, work, text = person.announced, person.work, person.text
    return (
        said.since,
        said.message_updated,
        work and work.stamp.at,
        text and text.set_at,
        text and text.until,
        person.due,
        said.status.value,
        said.reason and said.reason.value,
        said.project,
        said.task,
        said.message,
        _devices_to_json.encode(said.devices).decode(),
        work and work.project,
        work and work.task,
        text and text.message,
    )


def person_of(row: RowMapping, sessions: Mapping[Key, Session]) -> Person:
    """Return the person that ROW of `PresenceRow` and the facts of SESSIONS make."""
    work_at, set_at = row["work_at"], row["text_set_at"]
    return Person(
        sessions=sessions,
        work=None if work_at is None else Work(Stamp(work_at), row["work_project"], row["work_task"]),
        text=None if set_at is None else Text(set_at, row["text_message"], row["text_until"]),
        announced=Announced(
            status=_STATUSES[row["status"]],
            reason=row["reason"] and _REASONS[row["reason"]],
            since=row["since"],
            project=row["project"],
            task=row["task"],
            message=row["message"],
            message_updated=row["message_updated_at"],
            devices=_devices_from_json.decode(row["devices"]),
        ),
        rev=row["rev"],
        due=row["due_at"],
    )
