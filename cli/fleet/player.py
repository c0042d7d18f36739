"""Plays messages to a broker as fast as it takes them: a few connections, each with a bounded window of unconfirmed messages."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cli.fleet.client import Endpoint, Line, Poller
from cli.fleet.playback import Cue
from models.errors import LinkLost

LANES = 4
WINDOW = 400
"""Unconfirmed messages a connection: well below what brokers hold before they stop reading."""

_KEEPALIVE_S = 30
_TEND_EVERY_S = 0.5
_LONGEST_POLL_S = 0.1
_RETRY_S = (0.2, 1.0)
_LEAVE_WITHIN_S = 2.0

Message = Callable[[int], tuple[str, bytes]]
"""Topic and payload of the row at an index."""


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """How to reach the broker as role `service`. `token` is asked for anew at every connection, since tokens expire."""

    endpoint: Endpoint
    client_id: str
    """Of the first connection; the others add a number. It begins with `fieldbeat:`."""
    username: str
    token: Callable[[], str] = field(repr=False)
    first_patience_s: float = 5.0
    """For how long nobody may answer at the beginning."""
    patience_s: float = 120.0
    """For how long nothing may be confirmed once a connection has stood; the broker or the service may be restarting."""


@dataclass(slots=True)
class Played:
    """What became of the messages so far."""

    published: int = 0
    confirmed: int = 0
    reconnects: int = 0
    trouble: str | None = None
    """Why it ended before all was confirmed."""


class _Lane:
    """One connection with the turns that are left for it."""

    def __init__(self, player: _Player, number: int, cues: deque[Cue]) -> None:
        self.cues = cues
        self._player = player
        options = player.options
        client_id = options.client_id if number == 0 else f"{options.client_id}-{number}"
        self.line = Line(player.poller, options.endpoint, client_id, self, window=WINDOW, keepalive_s=_KEEPALIVE_S)
        self.retry_at_s: float | None = 0.0
        self._was_open = False

    @property
    def is_done(self) -> bool:
        return not self.cues and not self.line.outstanding

    def connect(self, now_s: float) -> None:
        self.retry_at_s = None
        try:
            self.line.connect(self._player.options.username, self._player.options.token())
        except LinkLost as error:
            self._player.complaint = str(error)
            self._retry(now_s)

    def feed(self, elapsed_s: float) -> None:
        """Publish what is due, as far as the window allows."""
        for _ in range(self.line.room):
            if not self.cues or self.cues[0].due_s > elapsed_s:
                return
            self.line.publish(*self._player.message(self.cues.popleft().row))
            self._player.played.published += 1

    def opened(self) -> None:
        self._player.progressed()
        self._player.played.reconnects += self._was_open
        self._was_open = True

    def refused(self, reason: str) -> None:
        self._player.refusal = reason

    def lost(self) -> None:
        if not self._player.is_leaving:
            self._player.complaint = "the broker ended the connection"
            self._retry(time.monotonic())

    def confirmed(self) -> None:
        self._player.progressed()
        self._player.played.confirmed += 1

    def _retry(self, now_s: float) -> None:
        self.retry_at_s = now_s + random.uniform(*_RETRY_S)  # noqa: S311 jitter, no secret


class _Player:
    """One run, in the calling thread."""

    def __init__(self, lanes: Sequence[deque[Cue]], message: Message, options: PlayOptions) -> None:
        self.options, self.message = options, message
        self.poller = Poller()
        self.played = Played()
        self.refusal: str | None = None
        self.complaint = "no answer"
        self.is_leaving = False
        self._began_s = self._progress_s = time.monotonic()
        self._has_been_open = False
        self._lanes = [_Lane(self, number, cues) for number, cues in enumerate(cues for cues in lanes if cues)]

    def progressed(self) -> None:
        self._progress_s, self._has_been_open = time.monotonic(), True

    def run(self, stop: threading.Event, watch: Callable[[Played], None]) -> Played:
        tend_at_s = 0.0
        while not stop.is_set() and not all(lane.is_done for lane in self._lanes):
            now_s = time.monotonic()
            if now_s >= tend_at_s:
                tend_at_s = now_s + _TEND_EVERY_S
                self._tend(now_s)
                watch(self.played)
            self.played.trouble = self._trouble(now_s)
            if self.played.trouble is not None:
                break
            for lane in self._lanes:
                if lane.retry_at_s is not None and now_s >= lane.retry_at_s:
                    lane.connect(now_s)
                lane.feed(now_s - self._began_s)
            self.poller.poll(self._wait_s(now_s - self._began_s))
        self._leave()
        watch(self.played)
        return self.played

    def _tend(self, now_s: float) -> None:
        for lane in self._lanes:
            lane.line.tend(now_s)

    def _trouble(self, now_s: float) -> str | None:
        if self.refusal is not None:
            return f"the broker refused the connection: {self.refusal}"
        silent_s = now_s - self._progress_s
        if not self._has_been_open:
            return self.complaint if silent_s > self.options.first_patience_s else None
        if silent_s <= self.options.patience_s or not any(
            lane.line.outstanding or not lane.line.is_open for lane in self._lanes
        ):
            return None
        if any(lane.line.is_open for lane in self._lanes):
            return f"nothing was confirmed for {silent_s:.0f} s: does the service store what it is sent?"
        return f"the broker was out of reach for {silent_s:.0f} s: {self.complaint}"

    def _wait_s(self, elapsed_s: float) -> float:
        """Return for how long only the broker can give us something to do."""
        due = [lane.cues[0].due_s - elapsed_s for lane in self._lanes if lane.cues and lane.line.room]
        return max(0.0, min([_LONGEST_POLL_S, *due]))

    def _leave(self) -> None:
        self.is_leaving = True
        by_s = time.monotonic() + _LEAVE_WITHIN_S
        for lane in self._lanes:
            lane.line.leave(by_s)
        while any(lane.line.is_open for lane in self._lanes) and time.monotonic() < by_s + _TEND_EVERY_S:
            self.poller.poll(_LONGEST_POLL_S)
            self._tend(time.monotonic())
        for lane in self._lanes:
            lane.line.abort()
        self.poller.close()


def play(
    lanes: Sequence[deque[Cue]],
    message: Message,
    options: PlayOptions,
    stop: threading.Event,
    watch: Callable[[Played], None] = lambda _played: None,
) -> Played:
    """Publish MESSAGE of every cue in LANES, one connection a lane, until all are confirmed, STOP is set or patience ends.

    What was not confirmed when a connection ended is sent again by the next. WATCH is told of the progress twice a second.
    """
    return _Player(lanes, message, options).run(stop, watch)
