"""Counters and gauges of the pipe, kept by the pipe itself and read by whoever shows them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

LAG_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Upper bounds of the histogram of lag, from receipt to commit."""


class Metrics:
    """Numbers under stable names. Counters only rise; a gauge is what was last set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: Counter[tuple[str, str]] = Counter()
        self._gauges: dict[str, float] = {}
        self._lags = [0] * (len(LAG_BUCKETS_S) + 1)
        self._lag_sum_s = 0.0

    def count(self, name: str, by: int = 1, label: str = "") -> None:
        """Add BY to the counter NAME, under LABEL where it has one."""
        if by:
            with self._lock:
                self._counters[name, label] += by

    def gauge(self, name: str, value: float) -> None:
        with self._lock:
            self._gauges[name] = value

    def lag(self, seconds: float, messages: int) -> None:
        """Note that MESSAGES were committed SECONDS after their receipt."""
        bucket = sum(seconds > bound for bound in LAG_BUCKETS_S)
        with self._lock:
            self._lags[bucket] += messages
            self._lag_sum_s += seconds * messages

    def counters(self) -> Mapping[tuple[str, str], int]:
        with self._lock:
            return dict(self._counters)

    def gauges(self) -> Mapping[str, float]:
        with self._lock:
            return dict(self._gauges)

    def lags(self) -> tuple[list[int], float]:
        """Return the messages of each bucket, one more than there are bounds, and the sum of all lags in seconds."""
        with self._lock:
            return list(self._lags), self._lag_sum_s
