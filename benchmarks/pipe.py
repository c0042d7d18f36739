"""Heartbeats a second from bytes to committed rows in SQLite, against a script that commits one row a message through the ORM."""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlmodel import Session, SQLModel

from benchmarks.machine import machine
from benchmarks.row_at_a_time import position
from broker.inbox import Receipts
from broker.link import Delivery
from broker.memory_link import MemoryLink
from ingest.database import open_engine, upgrade
from ingest.metrics import Metrics
from ingest.outbox import Outbox
from ingest.store import Store
from ingest.worker import Worker
from models.standing import Terms

WANTED_RATIO = 10.0
MAX_SCRIPT_MESSAGES = 2_000
"""The script's rate does not depend on how many there are, and it is slow."""

Message = tuple[str, bytes]
"""Topic and payload."""


class Feed(MemoryLink):
    """Delivers messages as fast as they are taken; the time it takes itself does not count against the pipe."""

    def __init__(self, messages: list[Message]) -> None:
        super().__init__()
        self._messages = messages
        self._receipts = Receipts()
        self.acknowledged = 0

    def deliveries(self, filters: Sequence[str], idle_s: float) -> Iterator[Delivery | None]:
        for topic, payload in self._messages:
            yield Delivery(topic, payload, self._receipts.next(), self._count_ack)
        yield from super().deliveries(filters, idle_s)

    def _count_ack(self) -> None:
        self.acknowledged += 1


def heartbeats(users: int, rounds: int) -> list[Message]:
    """Return what USERS devices send in ROUNDS minutes, each in one session."""
    start = datetime.now(UTC) - timedelta(minutes=rounds)
    messages = []
    for turn in range(rounds):
        at = (start + timedelta(minutes=turn)).isoformat().replace("+00:00", "Z")
        for user in range(users):
            said = {
                "device": "phone", "session": f"01KAN98D00QJ9Z3V6W8X{user:06d}", "seq": turn, "at": at,
                "latitude": 12.97 + turn / 1000, "longitude": 77.59, "accuracy": 5.0, "speed": 1.5, "battery": 80,
            }  # fmt: skip
            messages.append((f"company/acme/presence/u{user}", json.dumps(said).encode()))
    return messages


def through_the_pipe(messages: list[Message], directory: Path) -> float:
    """Return heartbeats a second, from the first taken off the link to the last acknowledged."""
    engine = open_engine(f"sqlite:///{directory}/pipe.db")
    upgrade(engine)
    link, metrics = Feed(messages), Metrics()
    store = Store(engine, Terms())
    outbox = Outbox(store, link, "benchmark", "0", 5.0, lambda: datetime.now(UTC))
    worker = Worker(link, store, outbox, metrics, lambda: datetime.now(UTC))
    thread = threading.Thread(target=worker.run, name="worker")
    began = time.perf_counter()
    thread.start()
    while link.acknowledged < len(messages):
        time.sleep(0.005)
    seconds = time.perf_counter() - began
    worker.stop()
    thread.join()
    stored = metrics.counters()["stored", ""]
    engine.dispose()
    if stored != len(messages):
        raise SystemExit(f"{stored} of {len(messages)} were stored")
    return len(messages) / seconds


def through_the_script(messages: list[Message], directory: Path) -> float:
    """Return heartbeats a second of `json.loads`, one ORM object and one commit for each message."""
    engine = open_engine(f"sqlite:///{directory}/script.db")
    SQLModel.metadata.tables["script_position"].create(engine)
    began = time.perf_counter()
    with Session(engine) as session:
        for topic, payload in messages:
            session.add(position(topic, payload))
            session.commit()
    seconds = time.perf_counter() - began
    engine.dispose()
    return len(messages) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=20, help="heartbeats a user")
    parser.add_argument("--passes", type=int, default=3, help="how often, in turns; the medians count")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    chosen = parser.parse_args()
    messages = heartbeats(chosen.users, chosen.rounds)
    pipe, script = [], []
    for _ in range(chosen.passes):
        with tempfile.TemporaryDirectory() as directory:
            script.append(through_the_script(messages[:MAX_SCRIPT_MESSAGES], Path(directory)))
            pipe.append(through_the_pipe(messages, Path(directory)))
    pipe_per_s, script_per_s = (sorted(rates)[chosen.passes // 2] for rates in (pipe, script))
    ratio = pipe_per_s / script_per_s
    if chosen.json:
        figures = {"pipe_per_s": round(pipe_per_s), "script_per_s": round(script_per_s), "ratio": round(ratio, 1)}
        print(json.dumps({"machine": machine(), "wanted_ratio": WANTED_RATIO, **figures}))
        return
    print(f"{machine()}\n{len(messages):,} heartbeats of {chosen.users:,} users, SQLite, WAL, synchronous=FULL")
    print(f"pipe    {pipe_per_s:>9,.0f} heartbeats/s")
    print(f"script  {script_per_s:>9,.0f} heartbeats/s, one ORM row and one commit a message")
    print(f"ratio   {ratio:>9.1f} of the {WANTED_RATIO:.0f} wanted")


if __name__ == "__main__":
    main()
