"""How many signals a second the presence rules take on one core, without a database or a wire."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from models.events import Event
from models.facts import Battery, Ended, Fix, Heard, Reason, Signal, Stamp
from models.presence import advance
from models.standing import Person, Terms

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
TERMS = Terms()
WANTED_PER_S = 150_000
"""What the rules must reach with the everyday mix."""

Said = tuple[str, Signal]
"""A user and a signal."""


def heartbeats(users: int, rounds: int) -> Iterator[Said]:
    """The everyday stream: every user's device reports its position once a minute, in one session."""
    for turn in range(rounds):
        now = START + timedelta(minutes=turn)
        stamp = Stamp(now, turn)
        fix, battery = Fix(stamp, 12.97 + turn / 1000, 77.59, 5.0), Battery(stamp, 80.0)
        for user in range(users):
            yield f"u{user}", Heard(now, "phone", "s1", stamp, fix=fix, battery=battery)


def reconnects(users: int, rounds: int) -> Iterator[Said]:
    """The worst stream: each second signal is a will, and each heartbeat opens a new session of the same device."""
    for turn in range(rounds):
        now = START + timedelta(minutes=turn)
        heard = Heard(now, "phone", f"s{turn}", Stamp(now))
        lost = Ended(now + timedelta(seconds=40), Reason.CONNECTION_LOST, "phone", f"s{turn}")
        for user in range(users):
            yield f"u{user}", heard
            yield f"u{user}", lost


def everyday(users: int, rounds: int) -> Iterator[Said]:
    """The expected mix: heartbeats, and of every hundred users one a minute whose connection is lost and comes back."""
    for turn in range(rounds):
        now = START + timedelta(minutes=turn)
        stamp = Stamp(now, turn)
        fix = Fix(stamp, 12.97 + turn / 1000, 77.59, 5.0)
        for user in range(users):
            session = f"s{(turn + user) // 100}"
            if (turn + user) % 100 == 0 and turn:
                yield f"u{user}", Ended(now, Reason.CONNECTION_LOST, "phone", f"s{(turn + user) // 100 - 1}")
            yield f"u{user}", Heard(now, "phone", session, stamp, fix=fix)


STREAMS: dict[str, Callable[[int, int], Iterator[Said]]] = {
    "everyday": everyday,
    "heartbeats": heartbeats,
    "reconnects": reconnects,
}


def rate(stream: list[Said]) -> float:
    """Return the signals a second of one pass over STREAM."""
    people: dict[str, Person] = {}
    nobody = Person()
    told: list[tuple[Event, ...]] = []
    began = time.process_time()
    for user, signal in stream:
        people[user], events = advance(people.get(user, nobody), signal, TERMS)
        if events:
            told.append(events)
    return len(stream) / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--passes", type=int, default=3, help="how often; the median counts")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    chosen = parser.parse_args()
    figures = {}
    for name, make in STREAMS.items():
        stream = list(make(chosen.users, chosen.rounds if name != "reconnects" else min(chosen.rounds, 10)))
        figures[name] = round(sorted(rate(stream) for _ in range(chosen.passes))[chosen.passes // 2])
    if chosen.json:
        print(json.dumps({"python": platform.python_version(), "wanted": WANTED_PER_S, "signals_per_s": figures}))
        return
    for name, per_s in figures.items():
        print(f"{name:<12} {per_s:>9,} signals/s   {per_s / WANTED_PER_S:.2f} of the {WANTED_PER_S:,} wanted")


if __name__ == "__main__":
    main()
