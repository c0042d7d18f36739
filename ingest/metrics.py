"""Counters, gauges and histograms of the pipe, kept by the pipe itself and read by whoever shows them."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

BOUNDS = {
    "lag_s": (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0),
    "batch_size": (1, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 4000, 8000),
}
"""Upper bounds of the buckets of each histogram."""


class Observed(NamedTuple):
    """A histogram at one moment: how often each bucket was met, one more than there are bounds, and the sum of all values."""

    buckets: tuple[int, ...]
    total: float


class Metrics:
    """Numbers under stable names. Counters only rise; a gauge is what was last set, or what its source says when it is read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: Counter[tuple[str, str]] = Counter()
        self._gauges: dict[str, float] = {}
        self._sources: dict[str, Callable[[], float]] = {}
        self._buckets = {name: [0] * (len(bounds) + 1) for name, bounds in BOUNDS.items()}
        self._totals = dict.fromkeys(BOUNDS, 0.0)

    def count(self, name: str, by: int = 1, label: str = "") -> None:
        """Add BY to the counter NAME, under LABEL where it has one."""
        if by:
            with self._lock:
                self._counters[name, label] += by

    def gauge(self, name: str, value: float) -> None:
        with self._lock:
            self._gauges[name] = value

    def watch(self, name: str, source: Callable[[], float]) -> None:
        """Have the gauge NAME read from SOURCE, in the thread that asks."""
        with self._lock:
            self._sources[name] = source

    def observe(self, name: str, values: Iterable[float]) -> None:
        """Add VALUES to the histogram NAME."""
        ordered = sorted(values)
        # How many are at most each bound: so a batch takes a few steps a bucket, not a value.
        below = [bisect_right(ordered, bound) for bound in BOUNDS[name]]
        with self._lock:
            buckets = self._buckets[name]
            for place, (first, last) in enumerate(pairwise((0, *below, len(ordered)))):
                buckets[place] += last - first
            self._totals[name] += sum(ordered)

    def counters(self) -> Mapping[tuple[str, str], int]:
        with self._lock:
            return dict(self._counters)

    def gauges(self) -> Mapping[str, float]:
        with self._lock:
            found, sources = dict(self._gauges), dict(self._sources)
        return found | {name: source() for name, source in sources.items()}

    def observed(self, name: str) -> Observed:
        with self._lock:
            return Observed(tuple(self._buckets[name]), self._totals[name])
