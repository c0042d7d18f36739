"""A Fieldbeat of its own for a story: the real command on free ports in an empty directory, with Debian's MQTT clients as people."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers import free_port, program

PATIENCE_S = 15.0


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:  # noqa: ANN401 whatever the condition finds
    """Return what CONDITION finds as soon as it is true; fail after PATIENCE_S, saying WHAT did not happen."""
    give_up = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < give_up, f"did not happen in {patience_s} s: {what}"
        time.sleep(0.02)
    return found


@dataclass(slots=True)
class Listener:
    """A dashboard: `mosquitto_sub` with everything it has heard so far."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def heard(self) -> list[tuple[str, Any]]:
        # With -d mosquitto_sub prints its own doings as well, on lines that begin otherwise.
        lines = [
            line for line in self.log.read_text("utf-8").splitlines() if line.startswith(("company/", "fieldbeat/"))
        ]
        return [(topic, _json(payload)) for topic, _, payload in (line.partition(" ") for line in lines)]

    def of(self, channel: str, user: str) -> list[Any]:
        """Return the messages heard on CHANNEL of USER."""
        return [payload for topic, payload in self.heard if topic.split("/")[2:] == [channel, user]]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def _json(text: str) -> Any:  # noqa: ANN401 any JSON
    try:
        return json.loads(text)
    except ValueError:
        return text


@dataclass(slots=True)
class Field:
    """Where a story happens."""

    home: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    tokens: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FIELDBEAT_")}
        return clean | self.settings

    def start(self, *arguments: str, name: str = "") -> subprocess.Popen[bytes]:
        """Start a long-running command and return when it says that it is ready."""
        name = name or arguments[0]
        log = self.home / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(_command(arguments), cwd=self.home, env=self.environment, stdout=out, stderr=out)
        self.running[name] = process

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text("utf-8")
            return "ready\n" in log.read_text("utf-8")

        until(is_ready, f"`fieldbeat {' '.join(arguments)}` gets ready")
        return process

    def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        """Send a signal to a command and return its exit status."""
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(15)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            _command(arguments),
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ask(self, *arguments: str) -> Any:  # noqa: ANN401 any JSON
        """Return the JSON that a command prints."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def token(self, company: str, user: str, role: str = "device") -> str:
        if (company, user, role) not in self.tokens:
            done = self.run("token", "issue", "--company", company, "--user", user, "--role", role)
            assert done.returncode == 0, done.stderr
            self.tokens[company, user, role] = done.stdout.strip()
        return self.tokens[company, user, role]

    def who(self, company: str = "acme") -> dict[str, Any]:
        return {state["userId"]: state for state in self.ask("who", "--company", company)}

    def publish(
        self, user: str, payload: bytes | dict[str, Any], channel: str = "presence", company: str = "acme"
    ) -> int:
        """Publish as a device, acknowledged; return the exit status of `mosquitto_pub`."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        topic = f"company/{company}/{channel}/{user}"
        words = [
            "mosquitto_pub",
            *self._login(company, user),
            "-i",
            f"{company}:{user}",
            "-q",
            "1",
            "-t",
            topic,
            "-s" if data else "-n",
        ]
        return subprocess.run(words, input=data, capture_output=True, timeout=30, check=False).returncode

    def connect(self, user: str, will: dict[str, Any], name: str = "") -> subprocess.Popen[bytes]:
        """Hold a device's connection open, with a last will; it has subscribed when this returns."""
        client = f"acme:{user}:{name or will['device']}"
        words = [
            "stdbuf",
            "-oL",
            "mosquitto_sub",
            *self._login("acme", user),
            "-i",
            client,
            "-t",
            f"company/acme/state/{user}",
            "-d",
        ]
        words += [
            "--will-topic",
            f"company/acme/presence/{user}",
            "--will-qos",
            "1",
            "--will-payload",
            json.dumps(will),
        ]
        log = self.home / f"{client.replace(':', '-')}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(words, stdout=out, stderr=out)
        self.running[client] = process
        until(lambda: "SUBACK" in log.read_text("utf-8"), f"{client} connects")
        return process

    def listen(self, *filters: str, company: str = "acme") -> Listener:
        """Listen as a dashboard; it has subscribed when this returns."""
        name = f"dash{len(self.listeners)}"
        log = self.home / f"{name}.log"
        words = [
            "mosquitto_sub",
            *self._login(company, "dispatcher", "dashboard"),
            "-i",
            name,
            "-q",
            "1",
            "-F",
            "%t %p",
            "-d",
        ]
        words += [word for pattern in filters or (f"company/{company}/#",) for word in ("-t", pattern)]
        with log.open("wb") as out:
            process = subprocess.Popen(["stdbuf", "-oL", *words], stdout=out, stderr=out)
        listener = Listener(process, log)
        self.listeners.append(listener)
        until(lambda: "SUBACK" in log.read_text("utf-8"), f"{name} subscribes")
        return listener

    def _login(self, company: str, user: str, role: str = "device") -> list[str]:
        # The password is a throw-away of this test; a real one would not stand on a command line.
        return ["-p", str(self.port), "-u", user, "-P", self.token(company, user, role)]


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "cli.main", *arguments]


@contextmanager
def new_field(home: Path, **settings: str) -> Iterator[Field]:
    """Make a field whose ports are free; everything in it ends with it."""
    program("mosquitto_pub")
    port, websocket, http = free_port(), free_port(), free_port()
    given = {f"FIELDBEAT_{name.upper()}": value for name, value in settings.items()}
    defaults = {
        "FIELDBEAT_EMBEDDED_PORT": str(port),
        "FIELDBEAT_EMBEDDED_WS_PORT": str(websocket),
        "FIELDBEAT_HTTP_PORT": str(http),
        "FIELDBEAT_BROKER_URL": f"mqtt://127.0.0.1:{port}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    made = Field(home, port, defaults | given)
    try:
        yield made
    finally:
        for listener in made.listeners:
            listener.close()
        for process in made.running.values():
            process.kill()
            process.wait(10)
