"""Facts as table rows and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from models.facts import Battery, Fix, Reason, Session, Stamp, Status, Text, Word, Work
from models.presence import Announced, Person
from models.succession import Key

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

_devices_to_json = msgspec.json.Encoder()
_devices_from_json = msgspec.json.Decoder(tuple[tuple[str, str], ...])


def session_row(session: Session) -> dict[str, Any]:
    """Return the columns of `DeviceSession` that hold SESSION, all but the keys."""
    fix, battery, word, work = session.fix, session.battery, session.word, session.work
    return {
        "first_at": session.first,
        "heard_at": session.heard,
        "lost_at": session.lost,
        "left_at": session.left,
        "left_reason": str(session.left_reason),
        "superseded_at": session.superseded,
        "lapsed_at": session.lapsed,
        "seen_before": session.seen_before,
        "word": word and str(word.status),
        "word_at": word and word.stamp.at,
        "word_seq": word and word.stamp.seq,
        "battery": battery and battery.percent,
        "battery_at": battery and battery.stamp.at,
        "battery_seq": battery and battery.stamp.seq,
        "latitude": fix and fix.latitude,
        "longitude": fix and fix.longitude,
        "accuracy": fix and fix.accuracy,
        "fix_at": fix and fix.stamp.at,
        "fix_seq": fix and fix.stamp.seq,
        "project": work and work.project,
        "task": work and work.task,
        "work_at": work and work.stamp.at,
        "work_seq": work and work.stamp.seq,
    }


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


def presence_row(person: Person) -> dict[str, Any]:
    """Return the columns of `PresenceRow` that hold PERSON, all but the key and the revs."""
    said, work, text = person.announced, person.work, person.text
    return {
        "status": str(said.status),
        "reason": said.reason and str(said.reason),
        "since": said.since,
        "project": said.project,
        "task": said.task,
        "message": said.message,
        "message_updated_at": said.message_updated,
        "devices": _devices_to_json.encode(said.devices).decode(),
        "work_project": work and work.project,
        "work_task": work and work.task,
        "work_at": work and work.stamp.at,
        "text_message": text and text.message,
        "text_set_at": text and text.set_at,
        "text_until": text and text.until,
        "due_at": person.due,
    }


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
