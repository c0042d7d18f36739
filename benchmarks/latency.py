"""How long it takes at 500 heartbeats a second: from a publication, and from a killed device, to whoever watches; beside bare Mosquitto."""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.load import session_prefix
from benchmarks.machine import machine
from benchmarks.servers import broker, database, ingest, service_token
from benchmarks.subscriber import Subscriber, connected
from broker.access import Role
from tests.integration.plugged import token
from tests.integration.raw_mqtt import connect, publish
from tests.servers import mosquitto

COMPANY = "acme"
USERS = 2_000
_LAST_WORDS_S = 3.0

Doomed = tuple[str, subprocess.Popen[bytes]]
"""A user, and the process that holds the connection of their device."""


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return median and 99th percentile in milliseconds, and how many there were."""
    ranked = sorted(seconds) or [float("nan")]
    p50, p99 = (round(ranked[min(len(ranked) - 1, int(len(ranked) * part))] * 1e3, 2) for part in (0.5, 0.99))
    return {"p50_ms": p50, "p99_ms": p99, "count": len(seconds)}


class Watch:
    """One publisher of everybody's heartbeats, one subscriber of everything, and what lay between them."""

    def __init__(self, port: int, rate: float) -> None:
        login = service_token("load")
        self._publisher = connected(port, connect("fieldbeat:load", "load", login, keepalive=600))
        filters = [f"company/{COMPANY}/{channel}/+" for channel in ("presence", "state", "events")]
        self._subscriber = Subscriber(port, connect("fieldbeat:watch", "load", login, keepalive=600), filters)
        self._port, self._rate = port, rate
        self._session = session_prefix(datetime.now(UTC)).decode()
        self._turn = 0
        self._sent: dict[tuple[str, int], float] = {}
        self._wanted: dict[str, tuple[str, float]] = {}
        self._killed: dict[str, float] = {}
        self.found: dict[str, list[float]] = {
            name: [] for name in ("publish_to_subscriber", "publish_to_state", "kill_to_will", "kill_to_user_offline")
        }

    def beat(self) -> None:
        """Publish the next user's heartbeat, which says the other word than the one before."""
        seq, number = divmod(self._turn, USERS)
        user, word = f"u{number}", ("online", "away")[seq % 2]
        said = {
            "device": "tablet-7", "session": f"{self._session}{number:010d}", "seq": seq, "status": word,
            "latitude": 12.97, "longitude": 77.59, "accuracy": 5.0, "battery": 80,
        }  # fmt: skip
        data = publish(f"company/{COMPANY}/presence/{user}", json.dumps(said).encode(), 1, self._turn % 60_000 + 1)
        self._turn += 1
        now = time.perf_counter()
        self._sent[user, seq], self._wanted[user] = now, (word, now)
        self._publisher.sendall(data)

    def run(self, seconds: float, doomed: Iterable[Doomed] = (), every_s: float = 1e9) -> None:
        """Beat for SECONDS, kill one of the DOOMED every so many, and note when what arrives."""
        left = iter(doomed)
        with selectors.DefaultSelector() as selector:
            for link in (self._publisher, self._subscriber.link):
                selector.register(link, selectors.EVENT_READ)
            began = time.perf_counter()
            beats, kills = 0, 1
            while (now := time.perf_counter() - began) < seconds:
                if now * self._rate >= beats:
                    self.beat()
                    beats += 1
                if now >= kills * every_s and (one := next(left, None)) is not None:
                    self._kill(*one)
                    kills += 1
                next_s = min(beats / self._rate, kills * every_s) - (time.perf_counter() - began)
                for key, _ in selector.select(max(0.0, next_s)):
                    if key.fileobj is self._publisher:
                        self._publisher.recv(65536)
                    else:
                        self._note()

    def _kill(self, user: str, process: subprocess.Popen[bytes]) -> None:
        self._killed[user] = time.perf_counter()
        process.kill()

    def _note(self) -> None:
        for topic, payload in self._subscriber.received():
            now = time.perf_counter()
            channel, user = topic.split("/")[2:]
            said = json.loads(payload)
            match channel, said.get("type"), user in self._killed:
                case "presence", "offline", True:
                    self.found["kill_to_will"].append(now - self._killed[user])
                case "events", "user:offline", True:
                    self.found["kill_to_user_offline"].append(now - self._killed[user])
                case "presence", None, False if (user, said["seq"]) in self._sent:
                    self.found["publish_to_subscriber"].append(now - self._sent.pop((user, said["seq"])))
                case "state", _, False if user in self._wanted and self._wanted[user][0] == said["status"]:
                    self.found["publish_to_state"].append(now - self._wanted.pop(user)[1])
                case _:
                    pass

    @contextmanager
    def devices(self, count: int) -> Iterator[list[Doomed]]:
        """Connect COUNT devices, each with a will and in a process of its own, which does nothing but hold the connection."""
        held: list[Doomed] = []
        try:
            for number in range(count):
                user = f"doomed{number}"
                with self._device(user) as link:
                    held.append((user, subprocess.Popen(["sleep", "600"], stdin=link.fileno())))
            yield held
        finally:
            for _, process in held:
                process.kill()
                process.wait()

    def _device(self, user: str) -> socket.socket:
        topic, session = f"company/{COMPANY}/presence/{user}", f"{self._session}9{user[6:]:0>9}"
        who = {"device": "tablet-7", "session": session}
        will = (topic, json.dumps({"type": "offline", **who, "reason": "connection_lost"}).encode(), 1, False)
        login = token(user, Role.DEVICE, COMPANY)
        link = connected(self._port, connect(f"{COMPANY}:{user}", user, login, keepalive=600, will=will))
        link.sendall(publish(topic, json.dumps({**who, "type": "heartbeat", "seq": 0}).encode(), 1))
        link.recv(4)
        return link

    def close(self) -> None:
        self._publisher.close()
        self._subscriber.close()


def watch(port: int, rate: float, seconds: float, kills: int) -> dict[str, Any]:
    """Return what was found at PORT: first everybody is heard once, then the clock starts."""
    watcher = Watch(port, rate)
    with watcher.devices(kills) as doomed:
        watcher.run(USERS / rate + _LAST_WORDS_S)
        watcher.found["publish_to_subscriber"].clear()
        watcher.found["publish_to_state"].clear()
        watcher.run(seconds)
        watcher.run(seconds + _LAST_WORDS_S, doomed, seconds / kills)
    watcher.close()
    return {name: percentiles(found) for name, found in watcher.found.items() if found}


def side_by_side(rate: float, seconds: float, kills: int) -> dict[str, Any]:
    with mosquitto(["allow_anonymous true", "set_tcp_nodelay true"]) as bare:
        found: dict[str, Any] = {"mosquitto": watch(bare.port, rate, seconds, kills)}
    with (
        broker() as on,
        database() as server,
        tempfile.TemporaryDirectory() as own,
        ingest(on, server.url(), Path(own), offline_grace="0"),
    ):
        found["fieldbeat"] = {**watch(on.port, rate, seconds, kills), "tokens": on.plugged}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rate", type=float, default=500.0, help="heartbeats a second, each of which changes a user's status"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="how long it goes on, with kills and without")
    parser.add_argument("--kills", type=int, default=100, help="processes of devices that are killed")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    chosen = parser.parse_args()
    figures = {"machine": machine(), "rate": chosen.rate, **side_by_side(chosen.rate, chosen.seconds, chosen.kills)}
    if chosen.json:
        print(json.dumps(figures))
        return
    print(f"{figures['machine']}\n{chosen.rate:,.0f} heartbeats/s of {USERS} users, offline grace 0")
    for side in ("mosquitto", "fieldbeat"):
        for name, found in figures[side].items():
            if isinstance(found, dict):
                title = f"{side}, {name.replace('_', ' ')}"
                print(f"{title:38}p50 {found['p50_ms']:>8.2f} ms, p99 {found['p99_ms']:>8.2f} ms of {found['count']}")


if __name__ == "__main__":
    main()
