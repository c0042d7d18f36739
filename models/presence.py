"""Presence is a lease: the only place that decides who is here.

1. This module reads no clock, no database and no wire: time is an argument, and the answer is (person, events).
2. A heartbeat holds its session's lease until `heard + stale_after`; a will ends it at `lost + offline_grace`, a sign-off or a
   revocation at `left`, a newer session of the same device at `superseded`. The earliest of these counts, and at that instant it is over.
3. A user is online while any session holds a lease, `away` if the newest of those says so, and offline with the reason of the lease
   that ended last.
4. A session that ended by will or sign-off stays ended; one that ended by silence comes back with its next heartbeat. The empty
   session, of a device that sends no ids, begins anew with the first heartbeat received after its end: the only place where the
   order of receipt matters.
5. What is announced is the difference between what was announced last and what is true now, so that neither a repeat nor a crash
   can double or lose an announcement.
6. Silence before `listening_since` was our deafness; once a lease was found to have lapsed, only a heartbeat revives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from models import events
from models.events import DeviceState, Event, State
from models.facts import (
    Ended,
    Heard,
    Reason,
    Said,
    Session,
    Signal,
    Status,
    Text,
    Work,
    Worked,
    earliest,
    inherit,
    last_seen,
    newest_fix,
    newest_text,
    newest_work,
    renewed,
)
from models.succession import Key, current, join


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
    now = _no_earlier_than_announced(now, person.announced)
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


def _no_earlier_than_announced(now: datetime, was: Announced) -> datetime:
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


NOTHING: tuple[Event, ...] = ()


def advance(person: Person, signal: Signal, terms: Terms) -> tuple[Person, tuple[Event, ...]]:
    """Return PERSON after SIGNAL, and what to announce: first what the time up to it has changed, then what it says itself."""
    lapsed = NOTHING
    if person.due is not None and signal.received >= person.due:
        person, lapsed = settle(person, signal.received, terms)
    if type(signal) is Heard and _only_renews(person, signal):
        sessions = dict(person.sessions)
        key = signal.device, signal.session
        sessions[key] = renewed(sessions[key], signal)
        return replace(person, sessions=sessions), lapsed
    person, changed = settle(absorb(person, signal), signal.received, terms)
    return person, lapsed + changed


def _only_renews(person: Person, signal: Heard) -> bool:
    """Whether SIGNAL is the everyday heartbeat, which lengthens a lease that holds and changes nothing to announce."""
    session = person.sessions.get((signal.device, signal.session))
    if session is None or person.due is None or signal.received >= person.due or signal.received < session.first:
        return False
    if session.heard is None or session.lost is not None or session.left is not None or session.superseded is not None:
        return False
    if session.lapsed is not None and session.lapsed > session.heard:
        return False
    said = Status.ONLINE if session.word is None else session.word.status
    if signal.status is not None and signal.status is not said:
        return False
    work, announced = signal.work, person.announced
    return announced.status is not Status.OFFLINE and (
        work is None or (work.project == announced.project and work.task == announced.task)
    )


def settle(person: Person, now: datetime, terms: Terms) -> tuple[Person, tuple[Event, ...]]:
    """Return PERSON with what is true at NOW as announced, and the events that announce the difference (rule 5)."""
    now = _no_earlier_than_announced(now, person.announced)
    person, silent = _lapse(person, now, terms)
    truth, was = standing(person, now, terms), person.announced
    told: list[Event] = []
    since = was.since
    if (truth.status is Status.OFFLINE) != (was.status is Status.OFFLINE):
        since = _turned(truth, was, now, told)
    elif truth.status is Status.OFFLINE:
        since = truth.since
    elif truth.status is not was.status:
        since = now
    if (truth.project, truth.task) != (was.project, was.task):
        told.append(events.ActivityChanged(truth.worked or now, truth.project, truth.task))
    if truth.message != was.message:
        told.append(events.StatusUpdated(truth.message_updated or now, truth.message))
    devices = tuple((device.device, str(device.status)) for device in truth.devices)
    announced = Announced(
        status=truth.status,
        reason=truth.reason,
        since=since,
        project=truth.project,
        task=truth.task,
        message=truth.message,
        message_updated=truth.message_updated,
        devices=devices,
    )
    rev = person.rev + (announced != was)
    return replace(person, announced=announced, rev=rev, due=truth.due), (*silent, *told)


def _turned(truth: Standing, was: Announced, now: datetime, told: list[Event]) -> datetime:
    """Announce that the user came or went; return since when."""
    if truth.status is not Status.OFFLINE:
        told.append(events.WentOnline(now, truth.device))
        return now
    since = truth.since or now
    # A newer session may turn out to have ended before its predecessor brought the user back: events do not go back in time.
    at = since if was.since is None else max(since, was.since)
    told.append(events.WentOffline(at, truth.device, truth.reason or Reason.CONNECTION_LOST))
    return since


def _lapse(person: Person, now: datetime, terms: Terms) -> tuple[Person, tuple[Event, ...]]:
    """Return PERSON with each lease that silence has ended marked as such, and one notice for each (rule 6)."""
    if person.due is not None and now < person.due:
        return person, NOTHING
    sessions, told = dict(person.sessions), []
    for key, session in person.sessions.items():
        hold = lease(session, terms)
        if hold is None or hold.reason is not Reason.STALE_SESSION or hold.end > now or session.lapsed == hold.end:
            continue
        sessions[key] = replace(session, lapsed=hold.end)
        told.append(events.FellSilent(hold.end, session.device, session.id))
    return (replace(person, sessions=sessions), tuple(told)) if told else (person, NOTHING)


def absorb(person: Person, signal: Signal) -> Person:
    """Return PERSON with what SIGNAL says merged into the facts; nothing is decided here."""
    match signal:
        case Heard():
            return replace(person, sessions=_hear(dict(person.sessions), signal))
        case Ended():
            sessions = dict(person.sessions)
            for key in _ended_keys(sessions, signal):
                _end(sessions, key, signal)
            return replace(person, sessions=sessions)
        case Worked():
            return replace(person, work=newest_work(person.work, signal.work))
        case Said(text=text):
            return replace(person, text=_said(person.text, text))


def with_sessions(person: Person, more: Mapping[Key, Session], keep: Mapping[Key, Session]) -> Person:
    """Return PERSON with MORE sessions; where a session is among those to KEEP, its facts there count."""
    return replace(person, sessions={**more, **keep})


def _said(now: Text | None, text: Text) -> Text | None:
    if now is None or (now.message, now.until) != (text.message, text.until):
        return newest_text(now, text)
    # A repeat is no new text, but it outlasts what was said in between and arrives later.
    return replace(now, set_at=max(now.set_at, text.set_at))


def _hear(sessions: dict[Key, Session], signal: Heard) -> dict[Key, Session]:
    key = signal.device, signal.session
    join(sessions, key, signal.received, signal.received)
    session = sessions[key]
    if not session.id and _is_over(session, signal.received):
        session = replace(session, first=signal.received, lost=None, left=None, superseded=None, lapsed=None)
    session = sessions[key] = renewed(session, signal)
    if session.superseded is not None:
        newest = current(sessions, signal.device)
        if newest is not None:
            sessions[newest] = inherit(sessions[newest], session)
    return sessions


def _is_over(session: Session, received: datetime) -> bool:
    """Whether a heartbeat at RECEIVED begins the empty session anew (rule 4)."""
    ended = earliest(earliest(session.lost, session.left), session.superseded)
    return ended is not None and received > ended


def _ended_keys(sessions: dict[Key, Session], signal: Ended) -> list[Key]:
    """Return the sessions that SIGNAL ends; a session named for the first time by its own end is added."""
    if signal.session:
        key = signal.device or "default", signal.session
        join(sessions, key, signal.received)
        return [key]
    devices = {session.device for session in sessions.values()} if signal.device is None else {signal.device}
    if signal.session is None:
        found = [current(sessions, device) for device in sorted(devices)]
        keys = [key for key in found if key is not None]
    else:
        keys = [(device, "") for device in sorted(devices) if (device, "") in sessions]
    return [key for key in keys if sessions[key].first <= signal.received]


def _end(sessions: dict[Key, Session], key: Key, signal: Ended) -> None:
    session = sessions[key]
    if not session.id and session.heard is not None and signal.received < session.heard:
        return
    if signal.reason is Reason.CONNECTION_LOST:
        sessions[key] = replace(session, lost=earliest(session.lost, signal.received))
    elif session.left is None or (signal.received, signal.reason) < (session.left, session.left_reason):
        sessions[key] = replace(session, left=signal.received, left_reason=signal.reason)


def state(company: str, user: str, person: Person, now: datetime, terms: Terms) -> State:
    """Return what is true of PERSON at NOW as the state that is published and shown (contract 4.8)."""
    truth, was = standing(person, now, terms), person.announced
    still_here = truth.status is not Status.OFFLINE and was.status is not Status.OFFLINE
    fix = None
    for session in person.sessions.values():
        fix = newest_fix(fix, session.fix)
    return State(
        company=company,
        user=user,
        rev=person.rev,
        status=truth.status,
        reason=truth.reason,
        since=was.since if still_here else truth.since,
        last_seen=max((device.last_seen for device in truth.devices if device.last_seen is not None), default=None),
        fix=fix,
        project=truth.project,
        task=truth.task,
        message=truth.message,
        message_updated=truth.message_updated,
        devices=truth.devices,
    )
