"""20,000 idle connections on Mosquitto: how many a second come in with which token, and the memory of each."""

from __future__ import annotations

import argparse
import json
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from benchmarks.machine import machine
from benchmarks.processes import cpu_s, memory_mib
from benchmarks.servers import Broker, broker
from broker.access import Claims, Role
from broker.tokens import Key, issue, keys_from_jwks
from tests.integration.plugged import KEY
from tests.integration.raw_mqtt import PING, connect
from tests.servers import mosquitto

COMPANY = "acme"
AT_ONCE = 100
"""So many wait for their CONNACK at the same time, as many as Mosquitto's queue of new connections holds."""
_PORTS_OF_AN_ADDRESS = 10_000
_SPARE_FILES = 50
_ACCEPTED, _PONG = b"\x20\x02\x00\x00", b"\xd0\x00"


def allow_files(wanted: int) -> int:
    """Raise the limit of open files, for us and the servers we start, and return how many connections it allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _SPARE_FILES
    for soft, limit in ((needed, max(needed, hard)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, limit))
        except (ValueError, PermissionError):  # only root may raise the hard one
            continue
        return min(wanted, soft - _SPARE_FILES)
    return wanted


def jwk(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """Return a JWK Set of one key [RFC 8037]."""
    entry = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key))
    return json.dumps({"keys": [{**entry, "kid": "benchmark", "alg": "EdDSA"}]})


def packets(count: int, key: Key) -> list[bytes]:
    """Return the CONNECT of COUNT devices, with tokens that KEY signed."""
    now = datetime.now(UTC)
    made = []
    for number in range(count):
        user = f"u{number}"
        token = issue(key, Claims(COMPANY, user, Role.DEVICE, now + timedelta(hours=1), now))
        made.append(connect(f"{COMPANY}:{user}", user, token, keepalive=3600))
    return made


def crowd(port: int, pid: int, connects: list[bytes]) -> dict[str, Any]:
    """Return what it takes to connect everybody, and whether all are still there afterwards."""
    memory, cpu, began = memory_mib(pid), cpu_s(pid), time.perf_counter()
    links: list[socket.socket] = []
    for start in range(0, len(connects), AT_ONCE):
        fresh = [_knock(port, start + index, data) for index, data in enumerate(connects[start : start + AT_ONCE])]
        if any(link.recv(4) != _ACCEPTED for link in fresh):
            raise SystemExit("a device was refused")
        links += fresh
    seconds = time.perf_counter() - began
    spent = cpu_s(pid) - cpu
    grown = memory_mib(pid) - memory
    for link in links:
        link.sendall(PING)
    alive = sum(link.recv(2) == _PONG for link in links)
    for link in links:
        link.close()
    return {
        "connections": len(links), "alive": alive, "connects_per_s": round(len(links) / seconds),
        "cpu_us_per_connect": round(spent / len(links) * 1e6), "bytes_per_connection": round(grown * 2**20 / len(links)),
    }  # fmt: skip


def _knock(port: int, number: int, data: bytes) -> socket.socket:
    link = socket.socket()
    link.settimeout(30)
    # One address has no 20,000 ports to spare; and `bind` would look for a free one for milliseconds while old ones are in TIME_WAIT.
    link.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
    link.bind((f"127.0.0.{1 + number // _PORTS_OF_AN_ADDRESS}", 0))
    link.connect(("127.0.0.1", port))
    link.sendall(data)
    return link


@contextmanager
def _bare() -> Iterator[Broker]:
    with mosquitto(["allow_anonymous true"]) as server:
        yield Broker(server, plugged=False)


def side_by_side(count: int) -> dict[str, Any]:
    """Return the figures of Mosquitto alone, and with the plug-in for both kinds of token."""
    private = Ed25519PrivateKey.generate()
    (signing,) = keys_from_jwks(jwk(private))
    with tempfile.TemporaryDirectory() as own:
        keys = Path(own) / "jwks.json"
        keys.write_text(jwk(private.public_key()), "utf-8")
        lines = (f"plugin_opt_jwks_file {keys}", "plugin_opt_algorithms HS256,EdDSA")
        rigs: dict[str, tuple[Callable[[], Any], Key]] = {
            "mosquitto": (_bare, KEY),
            "hs256": (lambda: broker(*lines), KEY),
            "eddsa": (lambda: broker(*lines), signing),
        }
        found: dict[str, Any] = {}
        for name, (opened, key) in rigs.items():
            connects = packets(count, key)
            with opened() as on:
                found[name] = {**crowd(on.port, on.pid, connects), "tokens": on.plugged}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    chosen = parser.parse_args()
    figures = {"machine": machine(), **side_by_side(allow_files(chosen.connections))}
    if chosen.json:
        print(json.dumps(figures))
        return
    print(figures["machine"])
    for name, title in (("mosquitto", "Mosquitto alone"), ("hs256", "plug-in, HS256"), ("eddsa", "plug-in, EdDSA")):
        found = figures[name]
        print(
            f"{title:18}{found['connections']:>7,} connections, {found['alive']:,} alive: {found['connects_per_s']:,} a second,"
            f" {found['cpu_us_per_connect']} µs of Mosquitto's CPU and {found['bytes_per_connection']:,} bytes each"
        )


if __name__ == "__main__":
    main()
