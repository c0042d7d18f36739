"""The embedded broker beside stock amqtt with equivalent plug-ins: throughput, connections, wills, memory.

    python -m benchmarks.embedded_broker [--messages N] [--connections N ...] [--only throughput|fleet|refused]

Every server runs in a process of its own, with tokens and the access policy on; the generator writes raw packets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from broker import access
from broker.access import Claims, Role
from broker.embedded import EmbeddedBroker, Options
from broker.tokens import Key, Verifier, issue
from models.errors import TokenRefused
from tests.integration.raw_mqtt import DISCONNECT, connect, publish, subscribe

SECRET = "a secret of the benchmark, long enough for HS256"  # noqa: S105 it guards nothing
PAYLOAD = bytes(100)
TOPIC = "company/bench/state/{}"
"""A channel whose acknowledgement waits for nobody, so that both brokers do the same."""
RESULTS = Path(__file__).parent / "results" / "embedded_broker.json"


def verifier() -> Verifier:
    return Verifier.of([Key.from_secret(SECRET)], ["HS256"], timedelta(days=30), lambda: datetime.now(UTC))


def token(user: str, role: Role, company: str = "bench") -> str:
    now = datetime.now(UTC)
    return issue(Key.from_secret(SECRET), Claims(company, user, role, now + timedelta(hours=1), now))


# Stock amqtt with the same rules


class Auth(BaseAuthPlugin):  # type: ignore[misc]  # amqtt's types are not looked at
    """The token, and the binding of the client id."""

    async def authenticate(self, *, session: Session) -> bool:
        try:
            claims = verifier().verify(session.password or "", session.username)
        except TokenRefused:
            return False
        session.attributes["claims"] = claims
        return access.may_connect(claims, session.client_id or "")


class Policy(BaseTopicPlugin):  # type: ignore[misc]  # amqtt's types are not looked at
    """The access policy."""

    async def topic_filtering(self, *, session: Session, topic: str, action: Action) -> bool:
        claims = session.attributes["claims"]
        rule = {
            Action.PUBLISH: access.may_publish,
            Action.SUBSCRIBE: access.may_subscribe,
            Action.RECEIVE: access.may_receive,
        }[action]
        return rule(claims, topic)


async def serve_stock(port: int) -> None:
    plugins: dict[str, dict[str, str]] = {
        "benchmarks.embedded_broker.Auth": {},
        "benchmarks.embedded_broker.Policy": {},
    }
    broker = Broker({"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}, "plugins": plugins})
    await broker.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


def serve_ours(port: int) -> None:
    broker = EmbeddedBroker(Options(port=port, ws_port=None), verifier().verify, lambda _: False)
    broker.start()
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
    broker.stop()


@dataclass(frozen=True, slots=True)
class Server:
    """A broker under test."""

    port: int
    pid: int

    def memory(self) -> int:
        """Return its resident bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def server(kind: str) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.embedded_broker", "--serve", kind, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 asked for above
            if process.stdout.readline() != "ready\n":
                raise SystemExit(f"{kind} did not start")
            yield Server(port, process.pid)
        finally:
            process.terminate()


def client(port: int, client_id: str, user: str, role: Role, *packets: bytes, company: str = "bench") -> socket.socket:
    """Return a socket whose CONNECT has been accepted, and whose PACKETS have been sent."""
    link = socket.create_connection(("127.0.0.1", port), timeout=30)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(connect(client_id, user, token(user, role, company), keepalive=600))
    if link.recv(4) != b"\x20\x02\x00\x00":
        raise SystemExit(f"{client_id} was refused")
    for each in packets:
        link.sendall(each)
        link.recv(100)
    return link


# What is measured


def throughput(port: int, qos: int, messages: int, window: int = 100) -> float:
    """Return messages a second from one publisher to one subscriber, with at most WINDOW unacknowledged."""
    topic = TOPIC.format("load")
    receiver = client(port, "receiver", "dana", Role.DASHBOARD, subscribe(1, (topic, qos)))
    sender = client(port, "fieldbeat:sender", "service", Role.SERVICE)
    packets = [publish(topic, PAYLOAD, qos, number % 65_000 + 1) for number in range(messages)]
    size = len(packets[0])
    head = size - len(PAYLOAD) - 2
    sent = acknowledged = received = 0
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(receiver, selectors.EVENT_READ)
        selector.register(sender, selectors.EVENT_READ)
        began = time.perf_counter()
        while received < messages:
            limit = min(messages, (acknowledged if qos else received) + window)
            if limit > sent:
                sender.sendall(b"".join(packets[sent:limit]))
                sent = limit
            ready = selector.select(10)
            if not ready:
                raise SystemExit(f"stalled after {received} of {messages} messages at QoS {qos}")
            for key, _ in ready:
                data = key.fileobj.recv(262_144)  # type: ignore[union-attr]  # only sockets are registered
                if not data:
                    raise SystemExit("the broker closed a connection")
                if key.fileobj is sender:
                    acknowledged += len(data) // 4
                    continue
                data = rest + data
                whole = len(data) // size
                rest = data[whole * size :]
                received += whole
                if qos:
                    identifiers = (data[at * size + head : at * size + head + 2] for at in range(whole))
                    receiver.sendall(b"".join(b"\x40\x02" + each for each in identifiers))
        seconds = time.perf_counter() - began
    for link in (receiver, sender):
        link.sendall(DISCONNECT)
        link.close()
    return messages / seconds


def fleet(running: Server, count: int, wills: int) -> dict[str, float]:
    """Connect COUNT devices, each with a will; then lose WILLS of them at once."""
    watcher = client(
        running.port, "fieldbeat:watcher", "service", Role.SERVICE, subscribe(1, ("company/+/presence/+", 1))
    )
    users = [f"u{number}" for number in range(count)]
    connects = [
        connect(f"fleet:{user}", user, token(user, Role.DEVICE, "fleet"), keepalive=600, will=_will(user))
        for user in users
    ]
    before, began = running.memory(), time.perf_counter()
    links = []
    for data in connects:
        link = socket.create_connection(("127.0.0.1", running.port), timeout=30)
        link.sendall(data)
        links.append(link)
    for link in links:
        if link.recv(4) != b"\x20\x02\x00\x00":
            raise SystemExit(f"a device was refused after {time.perf_counter() - began:.1f} s")
    seconds = time.perf_counter() - began
    memory = running.memory() - before
    began = time.perf_counter()
    for link in links[:wills]:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, (1).to_bytes(4, "little") + bytes(4))
        link.close()
    size, received, rest = len(publish(_will("u0000")[0], b"offline", 1)), 0, b""
    while received < wills:
        data = rest + watcher.recv(262_144)
        received += data.count(b"offline")
        identifiers = [data[at - 2 : at] for at in _places(data, b"offline")]
        rest = data[-size:] if not data.endswith(b"offline") else b""
        watcher.sendall(b"".join(b"\x40\x02" + each for each in identifiers))
    will_seconds = time.perf_counter() - began
    for link in (*links[wills:], watcher):
        link.close()
    return {
        "devices": count,
        "connects_per_s": round(count / seconds),
        "memory_per_device_kib": round(memory / count / 1024, 1),
        f"{wills}_wills_s": round(will_seconds, 3),
    }


def _will(user: str) -> tuple[str, bytes, int, bool]:
    return (f"company/fleet/presence/{user}", b"offline", 1, False)


def _places(data: bytes, word: bytes) -> Iterator[int]:
    at = data.find(word)
    while at >= 0:
        yield at
        at = data.find(word, at + len(word))


def refused(running: Server, count: int) -> dict[str, float]:
    """Have COUNT CONNECTs refused."""

    def knock(number: int) -> None:
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as link:
            link.sendall(connect(f"fleet:ghost{number}", "ghost", "x" * 1_000))
            link.recv(4)

    for number in range(500):
        knock(number)
    before, began = running.memory(), time.perf_counter()
    for number in range(count):
        knock(500 + number)
    return {
        "refused": count,
        "refused_per_s": round(count / (time.perf_counter() - began)),
        "growth_kib": round((running.memory() - before) / 1024),
    }


def measure(options: argparse.Namespace) -> dict[str, object]:
    figures: dict[str, object] = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "amqtt": version("amqtt"),
    }
    for kind in ("embedded", "stock"):
        mine: dict[str, object] = {}
        if options.only in (None, "throughput"):
            with server(kind) as running:
                for qos in (0, 1):
                    count = options.messages if kind == "embedded" else options.messages // 4
                    rates = [throughput(running.port, qos, count) for _ in range(3)]
                    mine[f"qos_{qos}_messages_per_s"] = [round(rate) for rate in rates]
        if options.only in (None, "fleet"):
            mine["fleet"] = []
            for count in options.connections if kind == "embedded" else options.connections[:1]:
                with server(kind) as running:
                    mine["fleet"] = [*_list(mine["fleet"]), fleet(running, count, min(count, 1_000))]
        if options.only in (None, "refused"):
            with server(kind) as running:
                mine["refused"] = refused(running, options.refused if kind == "embedded" else options.refused // 5)
        figures[kind] = mine
        print(json.dumps({kind: mine}, indent=2), flush=True)
    return figures


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, nargs="+", default=[1_000, 5_000])
    parser.add_argument("--refused", type=int, default=10_000)
    parser.add_argument("--only", choices=["throughput", "fleet", "refused"])
    parser.add_argument("--serve", choices=["embedded", "stock"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve == "embedded":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        serve_ours(options.port)
    elif options.serve == "stock":
        asyncio.run(serve_stock(options.port))
    else:
        figures = measure(options)
        if options.only is None:
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
