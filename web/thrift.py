"""Answers that cost something, asked for as often as anybody likes: a hundredth of the time goes into them, however many ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

SHARE = 0.01
"""An answer that took 0.3 s is given for 30 s; one of a small company, which took 2 ms, for 0.2 s."""

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Thrift(Generic[Question, Answer]):
    """Asks FIND, and gives its answer again for as long as finding it took, divided by SHARE; one thread asks at a time."""

    def __init__(self, find: Callable[[Question], Answer], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._kept: Answer | None = None
        self._good_until_s = float("-inf")

    def ask(self, question: Question) -> Answer:
        """Return the answer to QUESTION, or a kept one; what FIND raises is raised, and nothing is kept of it."""
        with self._lock:
            started_s = self._clock_s()
            if self._kept is not None and started_s < self._good_until_s:
                return self._kept
            self._kept = self._find(question)
            found_s = self._clock_s()
            self._good_until_s = found_s + (found_s - started_s) / SHARE
            return self._kept
