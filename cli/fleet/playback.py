"""How recorded rows become messages of today: who speaks, which times, which are one message, and when each is due. Pure."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple

from cli.fleet import messages
from cli.fleet.messages import Identity
from cli.fleet.recording import Row
from models.errors import BadSetting
from models.topics import Channel, is_id

RECORDER = "recorder"
"""The device of every replayed user."""
LONGEST_GAP_S = 60.0
"""When nobody says anything for longer than this, a paced replay waits no longer than this."""

_PERCENTILE = 0.99
_MAX_ID = 64
_DIGEST_BYTES = 6
_ANY_TIME = datetime.min.replace(tzinfo=UTC)
_OUTSIDE_GRAMMAR = re.compile(r"[^A-Za-z0-9_-]+")


def user_id(device: str) -> str:
    """Return the user that a recorded device becomes: its own id, or for one outside the grammar what is left and a digest."""
    if is_id(device):
        return device
    digest = blake2b(device.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    clean = _OUTSIDE_GRAMMAR.sub("-", device).strip("-") or "device"
    return f"{clean[: _MAX_ID - len(digest) - 1]}-{digest}"


def user_ids(devices: Iterable[str]) -> dict[str, str]:
    """Return the user of each of DEVICES; raise `BadSetting` should two become one."""
    users = {device: user_id(device) for device in devices}
    owners: dict[str, str] = {}
    for device, user in users.items():
        if owners.setdefault(user, device) != device:
            raise BadSetting(f"devices {device!r} and {owners[user]!r} would both be user {user}")
    return users


def usual_now(times: Iterable[datetime | None]) -> datetime | None:
    """Return the instant of a recording that a replay takes for now: the end of the hour that holds the 99th percentile.

    So all but a few stray stamps lie in the past. None when no time was recorded.
    """
    known = sorted(time for time in times if time is not None)
    if not known:
        return None
    newest = known[math.ceil(_PERCENTILE * len(known)) - 1]
    return newest.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def shift_to(started: datetime, now_is: datetime) -> timedelta:
    """Return what to add to recorded times so that NOW_IS becomes STARTED: whole milliseconds, never a later time."""
    return timedelta(milliseconds=(started - now_is) // timedelta(milliseconds=1))


class Cue(NamedTuple):
    """One row's turn: when it is due, in seconds since the replay began, and the index of the row."""

    due_s: float
    row: int


def in_order(rows: Sequence[Row]) -> list[Cue]:
    """Return the rows' turns when nothing is to be waited for."""
    return [Cue(0.0, index) for index in range(len(rows))]


def paced(rows: Sequence[Row], now_is: datetime | None, pace: float) -> list[Cue]:
    """Return the rows' turns at the recorded gaps divided by PACE.

    Each device keeps the order in which it was recorded; a row that is older than the one before it, has no time, or lies after
    NOW_IS comes together with that one.
    """
    times = _playing_times(rows, now_is)
    order = sorted(range(len(rows)), key=times.__getitem__)
    cues: list[Cue] = []
    due_s = 0.0
    for place, index in enumerate(order):
        if place:
            due_s += min((times[index] - times[order[place - 1]]).total_seconds(), LONGEST_GAP_S) / pace
        cues.append(Cue(due_s, index))
    return cues


def _playing_times(rows: Sequence[Row], now_is: datetime | None) -> list[datetime]:
    """Return when, by the recording's clock, each row has its turn: per device the latest time so far."""
    believed = [row.time if row.time is not None and (now_is is None or row.time <= now_is) else None for row in rows]
    first: dict[str, datetime] = {}
    for row, time in zip(rows, believed, strict=True):
        if time is not None:
            first.setdefault(row.device, time)
    # A device without any usable time has its turn at the recording's beginning.
    beginning = min(first.values(), default=None)
    latest: dict[str, datetime] = dict(first)
    turns: list[datetime] = []
    for row, time in zip(rows, believed, strict=True):
        known = latest.get(row.device) or beginning or _ANY_TIME
        latest[row.device] = turn = known if time is None else max(known, time)
        turns.append(turn)
    return turns


class Playback:
    """The messages of a recording. Rows of equal key are one message: the same session, `seq` and bytes."""

    def __init__(self, rows: Sequence[Row], company: str, shift: timedelta, sessions: Mapping[str, str]) -> None:
        self._rows = rows
        self._shift = shift
        self._sessions = sessions
        users = user_ids(dict.fromkeys(row.device for row in rows))
        self._identities = {device: Identity(company, user, RECORDER) for device, user in users.items()}
        self._first: dict[tuple[str, ...], int] = {}
        for index, row in enumerate(rows):
            self._first.setdefault(row.key, index)
        _check(shift, [row.time for row in rows if row.time is not None])

    @property
    def different(self) -> int:
        """How many different rows there are."""
        return len(self._first)

    def message(self, index: int) -> tuple[str, bytes]:
        """Return topic and payload of the row at INDEX; `seq` is the index of the first row equal to it."""
        seq = self._first[self._rows[index].key]
        row = self._rows[seq]
        at = None if row.time is None else row.time + self._shift
        identity = self._identities[row.device]
        payload = messages.heartbeat(identity.device, self._sessions[row.device], seq, at, row.report)
        return identity.topic(Channel.PRESENCE), payload

    def lanes(self, cues: Iterable[Cue], count: int) -> list[deque[Cue]]:
        """Return CUES dealt to COUNT connections; all of one device are on one, so that their order is kept."""
        lane_of = {device: place % count for place, device in enumerate(self._identities)}
        lanes: list[deque[Cue]] = [deque() for _ in range(count)]
        for cue in cues:
            lanes[lane_of[self._rows[cue.row].device]].append(cue)
        return lanes


def _check(shift: timedelta, times: Sequence[datetime]) -> None:
    try:
        for time in (min(times), max(times)) if times else ():
            _ = time + shift
    except OverflowError:
        raise BadSetting(
            "a recorded time would be shifted over the end of the calendar; choose another --now-is"
        ) from None
