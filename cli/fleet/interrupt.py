"""How a person, or the system, ends what would run on: SIGINT and SIGTERM set an event."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signals(then: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set while the block runs, THEN being called; a second signal does what it always did."""
    stop = threading.Event()
    numbers = signal.SIGINT, signal.SIGTERM
    former = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def on_signal(_number: int, _frame: object) -> None:
        stop.set()
        restore()
        then()

    for number in numbers:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        restore()
