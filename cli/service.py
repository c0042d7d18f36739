"""The long-running commands: parts with a thread each, told to stop by a signal, and drained in order."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

from cli.settings import notify_socket

log = logging.getLogger(__name__)

READY_S = 10.0
"""How long the start waits for others."""
DRAIN_S = 8.0
"""How long all parts together may take to stop; the contract allows 10 s."""
_LOOK_EVERY_S = 0.02

_SELDOM = 1_000_000, 20, 50
"""After how many new objects, and how many rounds over those, the garbage collector looks [docs.python.org/3/library/gc.html]."""

_TURN_S = 0.002
"""How long a thread that computes keeps the others waiting: an announcement takes a dozen turns, of 5 ms each by default."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs in a thread until it is told to stop."""

    name: str
    run: Callable[[], object]
    stop: Callable[[], None]


@dataclass(slots=True)
class Service:
    """Runs parts until SIGTERM or SIGINT, or until one of them fails; stops them in the order in which they were added."""

    parts: list[Part] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None

    def add(self, name: str, run: Callable[[], object], stop: Callable[[], None]) -> None:
        self.parts.append(Part(name, run, stop))

    def run(self, greet: Callable[[], None], is_ready: Callable[[], bool] = lambda: True) -> None:
        """Start the parts, GREET when IS_READY, wait for the end; raise what made a part fail."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        # The pipe makes many objects and hardly a circle: to look for circles as often as usual takes a fifth of its time.
        gc.freeze()
        gc.set_threshold(*_SELDOM)
        sys.setswitchinterval(_TURN_S)
        threads = [
            threading.Thread(target=self._guard, args=(part,), name=part.name, daemon=True) for part in self.parts
        ]
        for thread in threads:
            thread.start()
        self._wait_ready(is_ready)
        if not self.stopping.is_set():
            greet()
            notify("READY=1")
        self.stopping.wait()
        notify("STOPPING=1")
        deadline = time.monotonic() + DRAIN_S
        for part, thread in zip(self.parts, threads, strict=True):
            part.stop()
            thread.join(max(0.0, deadline - time.monotonic()))
        if self.failure is not None:
            raise self.failure

    def _wait_ready(self, is_ready: Callable[[], bool]) -> None:
        """Wait for what others owe us, though not for ever: to wait for a broker that is down is part of the service."""
        give_up = time.monotonic() + READY_S
        while not is_ready() and not self.stopping.wait(_LOOK_EVERY_S):
            if time.monotonic() > give_up:
                log.warning("not everything is there yet: going on without", extra={"action": "started_without"})
                return

    def _guard(self, part: Part) -> None:
        try:
            part.run()
        except BaseException as error:  # noqa: BLE001 a part that dies takes the service down, with its reason
            log.error("%s failed: %s", part.name, error, extra={"action": "part_failed", "part": part.name})
            self.failure = self.failure or error
        finally:
            if not self.stopping.is_set() and self.failure is None:
                self.failure = RuntimeError(f"{part.name} ended by itself")
            self.stopping.set()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        log.info("stopping on %s", signal.Signals(number).name, extra={"action": "stopping"})
        self.stopping.set()


def notify(state: str) -> None:
    """Tell systemd, where it started us, how we are [sd_notify(3)]."""
    address = notify_socket()
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
