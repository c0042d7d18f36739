"""What is true of a user at one moment: who holds a lease, and since when (rules 2 and 3 of `models.presence`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from models.events import DeviceState
from models.facts import Reason, Session, Status, Text, Work, last_seen, newest_work
from models.succession import Key


class Terms(Struct, frozen=True, gc=False):
    """How long a lease holds without a heartbeat and after a will, and since when the service has been listening."""

    stale_after: timedelta = timedelta(minutes=15)
    offline_grace: timedelta = timedelta(seconds=10)
    listening_since: datetime = datetime.min.replace(tzinfo=UTC)


class Lease(Struct, frozen=True, order=True, gc=False):
    """When a session's hold ends, or ended, and why."""

    end: datetime
    reason: Reason


class Announced(Struct, frozen=True, gc=False):
    """What was last announced of a user."""

    status: Status = Status.OFFLINE
    reason: Reason | None = None
    since: datetime | None = None
    project: str | None = None
    task: str | None = None
    message: str | None = None
    message_updated: datetime | None = None
    devices: tuple[tuple[str, str], ...] = ()


class Person(Struct, frozen=True, gc=False):
    """All that is known of one user: the sessions that may still matter, and what was announced.

    `due` is an instant before which nothing can change by the passing of time alone, None when nothing can.
    """

    sessions: Mapping[Key, Session] = {}
    work: Work | None = None
    text: Text | None = None
    announced: Announced = Announced()
    rev: int = 0
    due: datetime | None = None


class Standing(Struct, frozen=True, gc=False):
    """What is true of a user at one moment."""

    status: Status
    reason: Reason | None
    since: datetime | None
    device: str
    project: str | None
    task: str | None
    worked: datetime | None
    message: str | None
    message_updated: datetime | None
    due: datetime | None
    devices: tuple[DeviceState, ...]


def lease(session: Session, terms: Terms) -> Lease | None:
    """Return the lease of SESSION, or None while it was never heard (rule 2)."""
    heard = session.heard
    if heard is None:
        return None
    silent = max(heard, terms.listening_since) + terms.stale_after
    if session.lapsed is not None and heard + terms.stale_after <= session.lapsed < silent:
        silent = session.lapsed
    best = Lease(silent, Reason.STALE_SESSION)
    if session.superseded is not None and session.superseded <= best.end:
        best = Lease(session.superseded, Reason.CONNECTION_LOST)
    if session.lost is not None and (end := session.lost + terms.offline_grace) <= best.end:
        best = Lease(end, Reason.CONNECTION_LOST)
    if session.left is not None and session.left <= best.end:
        best = Lease(session.left, session.left_reason)
    return best


def standing(person: Person, now: datetime, terms: Terms) -> Standing:
    """Return what is true of PERSON at NOW (rule 3)."""
    now = no_earlier_than_announced(now, person.announced)
    holding: list[tuple[Session, Lease]] = []
    over: list[tuple[Lease, Session]] = []
    for session in person.sessions.values():
        hold = lease(session, terms)
        if hold is not None and hold.end > now:
            holding.append((session, hold))
        elif hold is not None:
            over.append((hold, session))
    message, updated, text_due = _text_at(person.text, now)
    if message == person.announced.message and person.announced.message_updated is not None:
        updated = person.announced.message_updated
    ends = [hold.end for _, hold in holding]
    work = _work(person)
    status, reason, since, device = _verdict(person.announced, holding, over)
    return Standing(
        status=status,
        reason=reason,
        since=since,
        device=device,
        project=None if work is None else work.project,
        task=None if work is None else work.task,
        worked=None if work is None else work.stamp.at,
        message=message,
        message_updated=updated,
        due=min(ends if text_due is None else [*ends, text_due], default=None),
        devices=_devices(person, [session for session, _ in holding]),
    )


def no_earlier_than_announced(now: datetime, was: Announced) -> datetime:
    """Return NOW, or when the last change took effect: a late signal or a clock that is behind takes back nothing (contract 4.5)."""
    if was.since is not None and was.since > now:
        now = was.since
    if was.message_updated is not None and was.message_updated > now:
        now = was.message_updated
    return now


def _verdict(
    was: Announced, holding: list[tuple[Session, Lease]], over: list[tuple[Lease, Session]]
) -> tuple[Status, Reason | None, datetime | None, str]:
    """Return status, reason, since when, and the device that decides."""
    if holding:
        newest = max((session for session, _ in holding), key=_age)
        return _word(newest), None, newest.first, newest.device
    if over:
        last, session = max(over, key=lambda pair: (pair[0].end, _age(pair[1])))
        return Status.OFFLINE, last.reason, last.end, session.device
    return Status.OFFLINE, was.reason, was.since, ""


def _age(session: Session) -> tuple[datetime, Key]:
    """Of two sessions of different devices the one with the greater age key is the newer."""
    return session.first, session.key


def _work(person: Person) -> Work | None:
    work = person.work
    for session in person.sessions.values():
        work = newest_work(work, session.work)
    return work


def _word(session: Session) -> Status:
    return Status.ONLINE if session.word is None else session.word.status


def _text_at(text: Text | None, now: datetime) -> tuple[str | None, datetime | None, datetime | None]:
    """Return the message, when it was updated, and when it runs out."""
    if text is None:
        return None, None, None
    if text.until is not None and text.until <= max(now, text.set_at):
        return None, max(text.until, text.set_at), None
    return text.message, text.set_at, text.until


def _devices(person: Person, holding: list[Session]) -> tuple[DeviceState, ...]:
    """Return every device that was ever heard, by name, as its newest session and report have it."""
    by_device: dict[str, list[Session]] = {}
    for session in person.sessions.values():
        by_device.setdefault(session.device, []).append(session)
    found = []
    for device, sessions in sorted(by_device.items()):
        seen = max((time for session in sessions if (time := last_seen(session)) is not None), default=None)
        if seen is None:
            continue
        here = [session for session in holding if session.device == device]
        status = _word(max(here, key=_age)) if here else Status.OFFLINE
        battery = max((session.battery for session in sessions if session.battery is not None), default=None)
        found.append(DeviceState(device, status, seen, None if battery is None else battery.percent))
    return tuple(found)
