"""How a virtual device behaves: what it says and does at a given time. Pure: no clock, no socket."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from random import Random
from typing import NamedTuple

from cli.fleet import messages
from cli.fleet.messages import Identity, Report
from cli.fleet.route import Route
from models.succession import UUID7_ENTROPY_BITS, uuid7
from models.topics import Channel

_BUFFER = 1_000
"""Points that a device keeps while it cannot send; the oldest make room."""
_RETRY_S = (1.0, 5.0)
_NO_ROOM_S = 0.2
_PROJECTS = {
    "fibre-north": ("survey", "splice", "close-out"),
    "meters-2026": ("read", "swap"),
    "road-signs": ("inspect", "repair"),
}
_TEXTS = (
    "On site until five",
    "At lunch",
    "Waiting for parts",
    "Traffic, ten minutes late",
    "Call me, I am driving",
    None,
)


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a new connection with this last will."""

    will: bytes


@dataclass(frozen=True, slots=True)
class Say:
    """Publish at QoS 1; `late` is a point that was kept back in a dead zone."""

    channel: Channel
    payload: bytes
    late: bool = False


@dataclass(frozen=True, slots=True)
class Abort:
    """Let the connection break without a word, so that the will speaks."""


@dataclass(frozen=True, slots=True)
class Leave:
    """DISCONNECT, once what was said has been confirmed."""


@dataclass(frozen=True, slots=True)
class Hide:
    """Drive into a dead zone: send and receive nothing, while the connection seems to stand."""


@dataclass(frozen=True, slots=True)
class Reappear:
    """Come out of the dead zone."""


Action = Connect | Say | Abort | Leave | Hide | Reappear


@dataclass(frozen=True, slots=True)
class Habits:
    """What a device does how often: mean seconds between happenings, and (shortest, longest) durations in seconds."""

    period_s: float = 5.0
    dead_zone_every_s: float = 150.0
    dead_zone_s: tuple[float, float] = (5.0, 45.0)
    abort_every_s: float = 240.0
    absence_s: tuple[float, float] = (0.5, 20.0)
    break_every_s: float = 400.0
    break_s: tuple[float, float] = (10.0, 40.0)
    activity_every_s: float = 90.0
    status_every_s: float = 180.0
    charge_lasts_s: float = 6 * 3600.0


class Phase(Enum):
    """What a device is in the middle of."""

    WAITING = auto()
    CONNECTING = auto()
    ONLINE = auto()
    HIDDEN = auto()


class _Happening(Enum):
    DEAD_ZONE = auto()
    ABORT = auto()
    BREAK = auto()
    ACTIVITY = auto()
    STATUS = auto()


class _Point(NamedTuple):
    at_s: float
    report: Report


class VirtualDevice:
    """One handset. Times are seconds since EPOCH; the same RNG state and the same calls give the same behaviour."""

    def __init__(
        self, identity: Identity, route: Route, rng: Random, habits: Habits, epoch: datetime, first_s: float = 0.0
    ) -> None:
        self.identity = identity
        self.phase = Phase.WAITING
        self.session = ""
        self._route, self._rng, self._habits, self._epoch = route, rng, habits, epoch
        self._until_s = first_s
        self._working = False
        self._beat_s = math.inf
        self._seq = 0
        self._points: deque[_Point] = deque(maxlen=_BUFFER)
        self._drained_s = rng.uniform(0.0, 0.6) * habits.charge_lasts_s
        self._accuracy = rng.uniform(3.0, 12.0)
        self._plans = {happening: first_s + self._gap_s(happening) for happening in _Happening}

    @property
    def due_s(self) -> float:
        """When `tick` is to be called next."""
        match self.phase:
            case Phase.WAITING | Phase.HIDDEN:
                return self._until_s
            case Phase.CONNECTING:
                return math.inf
            case Phase.ONLINE:
                return min(self._beat_s, self._until_s, *self._plans.values())

    def tick(self, now_s: float, room: int) -> Iterator[Action]:
        """Yield what the device does now; ROOM is how many messages its connection takes before the next confirmation."""
        self._record(now_s)
        match self.phase:
            case Phase.WAITING if now_s >= self._until_s:
                self.phase = Phase.CONNECTING
                self.session = uuid7(self._time(now_s), self._rng.getrandbits(UUID7_ENTROPY_BITS))
                self._seq = 0
                yield Connect(messages.will(self.identity.device, self.session))
            case Phase.HIDDEN if now_s >= self._until_s:
                self.phase = Phase.ONLINE
                yield Reappear()
                yield from self._speak(now_s, room)
            case Phase.ONLINE:
                yield from self._speak(now_s, room)
                yield from self._happen(now_s)

    def opened(self, now_s: float) -> None:
        """Note that the broker took the connection: the first heartbeat is due at once."""
        self.phase = Phase.ONLINE
        self._until_s = now_s
        if not self._working:
            self._working = True
            self._points.append(_Point(now_s, self._report(now_s)))
            self._beat_s = now_s + self._rng.uniform(0.1, 1.0) * self._habits.period_s

    def lost(self, now_s: float) -> None:
        """Note that the connection, or the attempt at one, came to an end; it is no news when the device ended it itself."""
        if self.phase is not Phase.WAITING:
            self._wait(now_s, _RETRY_S)

    def farewell(self, now_s: float, room: int) -> Iterator[Action]:
        """Yield how the device says what it kept back, and signs off for good."""
        self._record(now_s)
        if self.phase is Phase.HIDDEN:
            yield Reappear()
        if self.phase in (Phase.ONLINE, Phase.HIDDEN):
            yield from self._speak(now_s, room)
            yield from self._sign_off(now_s)
        self.phase, self._until_s = Phase.WAITING, math.inf

    def _record(self, now_s: float) -> None:
        while self._working and self._beat_s <= now_s:
            self._points.append(_Point(self._beat_s, self._report(self._beat_s)))
            self._beat_s += self._habits.period_s

    def _speak(self, now_s: float, room: int) -> Iterator[Say]:
        while self._points and room > 0:
            point = self._points.popleft()
            payload = messages.heartbeat(
                self.identity.device, self.session, self._next_seq(), self._time(point.at_s), point.report
            )
            yield Say(Channel.PRESENCE, payload, late=now_s - point.at_s > self._habits.period_s)
            room -= 1
        self._until_s = now_s + _NO_ROOM_S if self._points else math.inf

    def _happen(self, now_s: float) -> Iterator[Action]:
        """Do what is due; what ends the connection leaves the rest for later."""
        for happening, due_s in self._plans.items():
            if due_s <= now_s and self.phase is Phase.ONLINE:
                self._plans[happening] = now_s + self._gap_s(happening)
                yield from self._do(happening, now_s)

    def _do(self, happening: _Happening, now_s: float) -> Iterator[Action]:
        match happening:
            case _Happening.DEAD_ZONE:
                self.phase = Phase.HIDDEN
                self._until_s = now_s + self._rng.uniform(*self._habits.dead_zone_s)
                yield Hide()
            case _Happening.ABORT:
                self._wait(now_s, self._habits.absence_s)
                yield Abort()
            case _Happening.BREAK:
                yield from self._sign_off(now_s)
                self._working, self._beat_s = False, math.inf
                self._wait(now_s, self._habits.break_s)
            case _Happening.ACTIVITY:
                project = self._rng.choice((*_PROJECTS, None))
                task = None if project is None else self._rng.choice(_PROJECTS[project])
                yield Say(Channel.ACTIVITY, messages.activity(self.identity.device, self._time(now_s), project, task))
            case _Happening.STATUS:
                yield Say(Channel.STATUS, messages.status(self._rng.choice(_TEXTS)))

    def _sign_off(self, now_s: float) -> Iterator[Action]:
        payload = messages.sign_off(self.identity.device, self.session, self._next_seq(), self._time(now_s))
        yield Say(Channel.PRESENCE, payload)
        yield Leave()

    def _wait(self, now_s: float, span_s: tuple[float, float]) -> None:
        self.phase, self._until_s = Phase.WAITING, now_s + self._rng.uniform(*span_s)

    def _gap_s(self, happening: _Happening) -> float:
        habits = self._habits
        mean_s = {
            _Happening.DEAD_ZONE: habits.dead_zone_every_s,
            _Happening.ABORT: habits.abort_every_s,
            _Happening.BREAK: habits.break_every_s,
            _Happening.ACTIVITY: habits.activity_every_s,
            _Happening.STATUS: habits.status_every_s,
        }[happening]
        return self._rng.expovariate(1 / mean_s)

    def _report(self, at_s: float) -> Report:
        point, speed_mps, heading = self._route.at(at_s)
        return Report(
            latitude=round(point.latitude, 6),
            longitude=round(point.longitude, 6),
            accuracy=round(self._accuracy, 1),
            speed=round(speed_mps, 1),
            heading=None if heading is None else round(heading, 1) % 360,
            battery=self._battery(at_s),
        )

    def _battery(self, at_s: float) -> int:
        """Return the charge in percent; an empty battery is swapped for a full one."""
        return 100 - int((self._drained_s + at_s) % self._habits.charge_lasts_s / self._habits.charge_lasts_s * 100)

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq - 1

    def _time(self, at_s: float) -> datetime:
        exact = self._epoch + timedelta(seconds=at_s)
        return exact.replace(microsecond=exact.microsecond // 1000 * 1000)
