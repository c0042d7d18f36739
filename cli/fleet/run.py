"""Drives the virtual devices: one connection each, all in the calling thread."""

from __future__ import annotations

import heapq
import logging
import resource
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cli.fleet.client import Endpoint, Line, Poller
from cli.fleet.crew import roster, virtual_devices
from cli.fleet.device import Abort, Action, Connect, Hide, Leave, Reappear, Say, VirtualDevice
from cli.fleet.options import FleetOptions
from models.errors import BadSetting, LinkLost
from models.topics import Channel

log = logging.getLogger(__name__)

_WINDOW = 100
_KEEPALIVE_S = 15
"""Short, so that a long dead zone makes the broker publish the will, and a short one does not [MQTT-3.1.2-24]."""
_TEND_EVERY_S = 0.5
_LONGEST_POLL_S = 0.1
_FIRST_PATIENCE_S = 10.0
_PAUSE_S = 1.0
_CONFIRM_WITHIN_S = 1.0
_SPARE_DESCRIPTORS = 64


@dataclass(slots=True)
class Tally:
    """What the fleet has done so far."""

    devices: int
    users: int
    connected: int = 0
    sent: int = 0
    confirmed: int = 0
    late: int = 0
    """Points that a dead zone or a lost connection held back."""
    reconnects: int = 0
    aborts: int = 0
    refused: int = 0


class _Member:
    """One virtual device and its connection."""

    def __init__(self, fleet: _Fleet, device: VirtualDevice) -> None:
        self.device = device
        self.line = Line(
            fleet.poller, fleet.endpoint, device.identity.client_id, self, window=_WINDOW, keepalive_s=_KEEPALIVE_S
        )
        self._fleet = fleet
        self._was_open = False
        self._is_open = False

    def step(self, now_s: float) -> None:
        self._act(self.device.tick(now_s, self.line.room), now_s)

    def farewell(self, now_s: float) -> None:
        self._act(self.device.farewell(now_s, self.line.room), now_s)

    def opened(self) -> None:
        tally = self._fleet.tally
        tally.connected += 1
        tally.reconnects += self._was_open
        self._was_open = self._is_open = True
        self.device.opened(self._fleet.now_s())
        self._fleet.schedule(self)

    def refused(self, reason: str) -> None:
        self._fleet.tally.refused += 1
        self._fleet.complaint = f"the broker refused the connection: {reason}"
        extra = {"action": "fleet_refused", "client_id": self.device.identity.client_id}
        log.warning("the broker refused a virtual device: %s", reason, extra=extra)

    def lost(self) -> None:
        self._fleet.tally.connected -= self._is_open
        self._is_open = False
        self.device.lost(self._fleet.now_s())
        self._fleet.schedule(self)

    def confirmed(self) -> None:
        self._fleet.tally.confirmed += 1

    def _act(self, actions: Iterable[Action], now_s: float) -> None:
        for action in actions:
            match action:
                case Connect(will):
                    self._connect(will, now_s)
                case Say(channel, payload, late):
                    self.line.publish(self.device.identity.topic(channel), payload)
                    self._fleet.tally.sent += 1
                    self._fleet.tally.late += late
                case Abort():
                    self._fleet.tally.aborts += 1
                    self.line.abort()
                case Leave():
                    self.line.leave(time.monotonic() + _CONFIRM_WITHIN_S)
                case Hide():
                    self.line.pause()
                case Reappear():
                    self.line.resume()

    def _connect(self, will: bytes, now_s: float) -> None:
        identity = self.device.identity
        if now_s < self._fleet.paused_until_s:
            self.device.lost(now_s)
            return
        try:
            self.line.connect(
                identity.user, self._fleet.options.token(identity), (identity.topic(Channel.PRESENCE), will)
            )
        except LinkLost as error:
            self._fleet.complaint = str(error)
            # One attempt that nobody answers speaks for all: the others need not wait for theirs.
            self._fleet.paused_until_s = self._fleet.now_s() + _PAUSE_S
            self.device.lost(self._fleet.now_s())


class _Fleet:
    """One run of a fleet. Times are seconds since it began."""

    def __init__(self, options: FleetOptions) -> None:
        self.options = options
        self.endpoint = Endpoint.of(options.broker_url)
        self.poller = Poller()
        identities = roster(options.company, options.devices)
        self.tally = Tally(len(identities), len({identity.user for identity in identities}))
        self.complaint = "no answer"
        self.paused_until_s = 0.0
        self._began_s = time.monotonic()
        self._members = [_Member(self, device) for device in virtual_devices(options, identities)]
        self._due: list[tuple[float, int]] = []
        self._due_s = [-1.0] * len(self._members)
        self._places = {id(member): place for place, member in enumerate(self._members)}
        for member in self._members:
            self.schedule(member)

    def now_s(self) -> float:
        return time.monotonic() - self._began_s

    def schedule(self, member: _Member) -> None:
        """Put MEMBER where it belongs in the order of what is due; an older place of it counts no more."""
        place = self._places[id(member)]
        due_s = member.device.due_s
        if due_s != self._due_s[place]:
            self._due_s[place] = due_s
            heapq.heappush(self._due, (due_s, place))

    def run(self, stop: threading.Event, watch: Callable[[Tally], None]) -> Tally:
        until_s = float("inf") if self.options.duration_s is None else self.options.duration_s
        tend_at_s = 0.0
        try:
            while not stop.is_set() and self.now_s() < until_s:
                self._step()
                if self.now_s() >= tend_at_s:
                    tend_at_s = self.now_s() + _TEND_EVERY_S
                    self._tend()
                    self._check_reachable()
                    watch(self.tally)
                self.poller.poll(self._wait_s())
            self._say_farewell()
            watch(self.tally)
        finally:
            self._close()
        return self.tally

    def _step(self) -> None:
        now_s = self.now_s()
        while self._due and self._due[0][0] <= now_s:
            due_s, place = heapq.heappop(self._due)
            if due_s == self._due_s[place]:
                self._due_s[place] = -1.0
                self._members[place].step(now_s)
                self.schedule(self._members[place])

    def _wait_s(self) -> float:
        due_s = self._due[0][0] if self._due else float("inf")
        return max(0.0, min(_LONGEST_POLL_S, due_s - self.now_s()))

    def _tend(self) -> None:
        for member in self._members:
            member.line.tend(time.monotonic())

    def _check_reachable(self) -> None:
        if not self.tally.sent and self.now_s() > _FIRST_PATIENCE_S:
            raise LinkLost(f"no virtual device could connect: {self.complaint}")

    def _say_farewell(self) -> None:
        for member in self._members:
            member.farewell(self.now_s())
        give_up_s = self.now_s() + _CONFIRM_WITHIN_S + _TEND_EVERY_S
        while self.tally.connected and self.now_s() < give_up_s:
            self.poller.poll(_LONGEST_POLL_S)
            self._tend()

    def _close(self) -> None:
        for member in self._members:
            member.line.abort()
        self.poller.close()


def _allow_descriptors(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BadSetting(f"--devices needs {wanted} open files, and the system allows {hard} (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run_fleet(
    options: FleetOptions, stop: threading.Event, watch: Callable[[Tally], None] = lambda _tally: None
) -> Tally:
    """Drive a fleet until STOP is set or its duration is over, sign off, and return what it did.

    WATCH is told of the progress twice a second. Raise `LinkLost` when nobody could connect at all.
    """
    _allow_descriptors(options.devices + _SPARE_DESCRIPTORS)
    return _Fleet(options).run(stop, watch)
