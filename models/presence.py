"""Presence is a lease: the only place that decides who is here.

1. This module and `models.standing` read no clock, no database and no wire: time is an argument, and the answer is (person, events).
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

from datetime import datetime

from msgspec.structs import replace

from models import events
from models.events import Event, State
from models.facts import (
    Ended,
    Heard,
    Reason,
    Said,
    Session,
    Signal,
    Status,
    Text,
    Worked,
    earliest,
    inherit,
    newest_fix,
    newest_text,
    newest_work,
    renewed,
)
from models.standing import Announced, Person, Standing, Terms, lease, no_earlier_than_announced, standing
from models.succession import Key, current, join

NOTHING: tuple[Event, ...] = ()


def advance(person: Person, signal: Signal, terms: Terms) -> tuple[Person, tuple[Event, ...]]:
    """Return PERSON after SIGNAL, and what to announce: first what the time up to it has changed, then what it says itself."""
    lapsed = NOTHING
    if person.due is not None and signal.received >= person.due:
        person, lapsed = settle(person, signal.received, terms)
    if type(signal) is Heard and _only_renews(person, signal):
        key = signal.device, signal.session
        session = renewed(person.sessions[key], signal)
        return replace(person, sessions={**person.sessions, key: session}), lapsed
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
    now = no_earlier_than_announced(now, person.announced)
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
