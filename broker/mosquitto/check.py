"""Tries an installed plug-in in a throw-away Mosquitto on free loopback ports."""

from __future__ import annotations

import queue
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from broker.access import Claims, Role
from broker.tokens import Key, issue
from models.errors import NotFound

WAIT_S = 10.0
_MOSQUITTO = ("mosquitto", "/usr/sbin/mosquitto")
"""Debian installs it in sbin, which is not on an ordinary user's path."""

_CONFIGURATION = """
listener {tcp} 127.0.0.1
listener {ws} 127.0.0.1
protocol websockets
socket_domain ipv4
allow_anonymous false
persistence false
plugin {library}
plugin_opt_python_path {python_path}
plugin_opt_secret_file {secret}
plugin_opt_revocations_file {revocations}
"""


def mosquitto() -> str:
    """Return Mosquitto's path, or raise `NotFound`."""
    for name in _MOSQUITTO:
        if path := shutil.which(name):
            return path
    raise NotFound("the broker itself: apt install mosquitto")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried."""

    what: str
    holds: bool


def check(library: Path, python_path: str) -> Iterator[Finding]:
    """Yield what was tried with the plug-in LIBRARY; raise `NotFound`, with the broker's words, when it does not start.

    Started by root, Mosquitto changes to its own user before it loads the plug-in, as it does in production.
    """
    with _broker(library, python_path) as broker:
        for protocol, name in ((MQTTProtocolVersion.MQTTv311, "MQTT 3.1.1"), (MQTTProtocolVersion.MQTTv5, "MQTT 5")):
            for transport in ("tcp", "websockets"):
                for finding in _try(broker, protocol, transport):
                    yield Finding(f"{name}, {transport}: {finding.what}", finding.holds)


@dataclass(frozen=True, slots=True)
class _Broker:
    tcp: int
    ws: int
    key: Key


@contextmanager
def _broker(library: Path, python_path: str) -> Iterator[_Broker]:
    program, secret = mosquitto(), secrets.token_urlsafe(48)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        work = Path(directory)
        tcp, ws = (stack.enter_context(_reserved_port()) for _ in range(2))
        texts = {"secret": secret, "revocations": '{"tokens": [], "users": []}'}
        names = {name: work / name for name in texts}
        texts["conf"] = _CONFIGURATION.format(tcp=tcp, ws=ws, library=library, python_path=python_path, **names)
        for name, text in texts.items():
            (work / name).write_text(text, encoding="utf-8")
            (work / name).chmod(0o644)  # the secret lives as long as this check
        work.chmod(0o755)
        stack.close()
        with (work / "log").open("wb") as log:
            process = subprocess.Popen([program, "-c", work / "conf"], stderr=log)  # noqa: S603 Mosquitto
        try:
            _wait_for(tcp, process, work / "log")
            yield _Broker(tcp, ws, Key.from_secret(secret))
        finally:
            process.terminate()
            process.wait(WAIT_S)


@contextmanager
def _reserved_port() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + WAIT_S
    while process.poll() is None and time.monotonic() < give_up:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise NotFound("Mosquitto does not start with the plug-in; it says:\n" + log.read_text(errors="replace").strip())


def _try(broker: _Broker, protocol: MQTTProtocolVersion, transport: str) -> Iterator[Finding]:
    number = count()

    def client(role: Role, company: str, user: str, client_id: str, key: Key = broker.key) -> _Client:
        now = datetime.now(UTC)
        token = issue(key, Claims(company, user, role, now + timedelta(minutes=5), now))
        port = broker.ws if transport == "websockets" else broker.tcp
        return _Client(
            f"{client_id}{next(number) if client_id.endswith('-') else ''}", user, token, port, protocol, transport
        )

    forged = Key.from_secret(secrets.token_urlsafe(48))
    with client(Role.DEVICE, "acme", "alice", "acme:alice", forged) as stranger:
        yield Finding("a token of another key is refused", not stranger.connected)
    with client(Role.DEVICE, "acme", "alice", "acme:bob") as thief:
        yield Finding("another's client id is refused", not thief.connected)
    with (
        client(Role.SERVICE, "acme", "ingest", "fieldbeat:ingest") as service,
        client(Role.DASHBOARD, "acme", "boss", "dashboard-") as colleague,
        client(Role.DASHBOARD, "other", "spy", "dashboard-") as spy,
        client(Role.DEVICE, "acme", "alice", "acme:alice") as alice,
    ):
        yield Finding("good tokens are accepted", all(one.connected for one in (service, colleague, spy, alice)))
        colleague.subscribe("company/acme/#")
        for pattern in ("company/acme/#", "#", "company/+/#", "$share/group/company/acme/#"):
            spy.subscribe(pattern)
        spy.subscribe("fieldbeat/service")
        alice.publish("company/acme/presence/bob", "forged")
        alice.publish("company/acme/presence/alice", "own")
        yield Finding("a device speaks for its own user only", colleague.next_payload() == b"own")
        service.publish("fieldbeat/service", "end")
        yield Finding("another company hears nothing", spy.next_payload() == b"end")


class _Client:
    """One MQTT client, for a `with` block."""

    def __init__(
        self, client_id: str, user: str, token: str, port: int, protocol: MQTTProtocolVersion, transport: str
    ) -> None:
        self._payloads: queue.Queue[bytes] = queue.Queue()
        self._answers: queue.Queue[bool] = queue.Queue()
        self._suback: queue.Queue[None] = queue.Queue()
        self._port = port
        self._client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=protocol,
            transport="websockets" if transport == "websockets" else "tcp",
            reconnect_on_failure=False,
        )
        client.username_pw_set(user, token)
        client.on_connect = lambda *answer: self._answers.put(not answer[3].is_failure)
        client.on_message = lambda *delivery: self._payloads.put(delivery[2].payload)
        client.on_subscribe = lambda *_: self._suback.put(None)
        self.connected = False

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        self.connected = self._answers.get(timeout=WAIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        connection = self._client.socket()
        if connection is not None:  # paho closes it only when it got to write its DISCONNECT
            connection.close()

    def subscribe(self, pattern: str) -> None:
        self._client.subscribe(pattern, 1)
        self._suback.get(timeout=WAIT_S)

    def publish(self, topic: str, payload: str) -> None:
        self._client.publish(topic, payload, 1).wait_for_publish(WAIT_S)

    def next_payload(self) -> bytes | None:
        try:
            return self._payloads.get(timeout=WAIT_S)
        except queue.Empty:
            return None
