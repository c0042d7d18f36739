"""Dispatchers' desks: so many reads a second over HTTP, whether or not the last ones were answered."""

from __future__ import annotations

import http.client
import itertools
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

CONNECTIONS = 8
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Desks:
    """What is read: COMPANY's roster and newest events, and tracks of USERS on the days before LAST, with TOKEN."""

    port: int
    token: str = field(repr=False)
    company: str
    users: int
    days: int
    last: datetime

    def paths(self) -> dict[str, Callable[[int], str]]:
        """Return what to ask for, something else for each number."""
        base = f"/api/companies/{self.company}"
        return {
            "roster": lambda _: f"{base}/users?limit=1000",
            "track of a day": lambda turn: f"{base}/users/u{turn * 7919 % self.users + 1:06d}/track?{self._day(turn)}",
            "events": lambda _: f"{base}/events?limit=100",
        }

    def _day(self, turn: int) -> str:
        start = self.last - timedelta(days=turn % self.days)
        return urlencode({"from": start.isoformat(), "to": (start + timedelta(days=1)).isoformat()})

    def read(self, rate: float, seconds: float) -> dict[str, dict[str, float]]:
        """Read RATE times a second for SECONDS, each kind in its turn; return the latencies in ms, from when each read was due."""
        kinds, turns = self.paths(), itertools.count()
        latencies: dict[str, list[float]] = {kind: [] for kind in kinds}
        began, names = time.perf_counter(), list(kinds)

        def work() -> None:
            link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)
            while (turn := next(turns)) < rate * seconds:
                due, kind = began + turn / rate, names[turn % len(names)]
                time.sleep(max(0.0, due - time.perf_counter()))
                link.request("GET", kinds[kind](turn), headers={"Authorization": f"Bearer {self.token}"})
                answer = link.getresponse()
                answer.read()
                if answer.status != http.HTTPStatus.OK:
                    raise SystemExit(f"{kind}: {answer.status}")
                latencies[kind].append((time.perf_counter() - due) * 1000)
            link.close()

        threads = [threading.Thread(target=work, name=f"desk{number}") for number in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {kind: _summary(found) for kind, found in latencies.items()}


def _summary(latencies: list[float]) -> dict[str, float]:
    ordered = sorted(latencies)
    return {
        "reads": len(ordered),
        "p50_ms": round(statistics.median(ordered), 1),
        "p99_ms": round(ordered[len(ordered) * 99 // 100], 1),
    }
