"""Real servers for tests: each starts on free loopback ports and is ready when it says so."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

READY_WITHIN_S = 20.0
_SBIN = ":/usr/sbin:/sbin"
"""Debian keeps daemons there, which is not on an ordinary user's path."""
_DEBIAN_POSTGRESQL = Path("/usr/lib/postgresql")
"""Debian keeps the programs of each PostgreSQL in a directory of its own here, none of them on the path."""


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def program(name: str) -> str:
    """Return the path of the server NAME; without it the test is skipped, or fails where servers are required."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + _SBIN)
    if path is None:
        absent(name)
        raise AssertionError("unreachable")
    return path


def absent(what: str) -> None:
    """Skip the test because WHAT is not installed; fail where FIELDBEAT_REQUIRE_SERVICES=1."""
    if os.environ.get("FIELDBEAT_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")


def wait_until_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when PORT takes connections; fail with the server's own words when PROCESS ends before."""
    give_up = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"the server on port {port} did not start:\n{log.read_text(errors='replace')}")


@dataclass(slots=True)
class Mosquitto:
    """A running Mosquitto."""

    port: int
    ws_port: int
    directory: Path
    command: list[str | Path]
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.directory / "mosquitto.log").read_text(errors="replace")

    def hang_up(self) -> None:
        """Send the signal with which logrotate makes it reload."""
        self.process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it with no chance to save anything."""
        self.process.kill()
        self.process.wait(READY_WITHIN_S)

    def start(self) -> None:
        """Start it again after `kill`, with what it had saved."""
        log = self.directory / "mosquitto.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(self.command, stdout=output, stderr=output)
        wait_until_listening(self.port, self.process, log)


@contextmanager
def mosquitto(lines: Sequence[str], directory: Path | None = None, wrapper: Sequence[str] = ()) -> Iterator[Mosquitto]:
    """Run Mosquitto with LINES added to two loopback listeners (TCP, WebSocket) until the end of the block.

    DIRECTORY keeps its persistence from one run to the next. WRAPPER goes before the command, such as `runuser -u x --`.
    """
    port, ws_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as own:
        work = directory or Path(own)
        listeners = (
            f"listener {port} 127.0.0.1",
            f"listener {ws_port} 127.0.0.1",
            "protocol websockets",
            "socket_domain ipv4",
        )
        user = ("user root",) if os.geteuid() == 0 and not wrapper else ()  # else it could not read private directories
        (work / "mosquitto.conf").write_text("\n".join((*listeners, *user, *lines)) + "\n")
        log = work / "mosquitto.log"
        command: list[str | Path] = [*wrapper, program("mosquitto"), "-c", work / "mosquitto.conf"]
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        server = Mosquitto(port, ws_port, work, command, process)
        try:
            wait_until_listening(port, process, log)
            yield server
        finally:
            server.process.terminate()
            server.process.wait(READY_WITHIN_S)


def postgresql_program(name: str) -> str:
    """Return the path of a program of the newest PostgreSQL; see `program`."""
    versions = sorted(_DEBIAN_POSTGRESQL.glob("*/bin"), key=lambda found: float(found.parent.name), reverse=True)
    debian = next((str(found / name) for found in versions if (found / name).is_file()), None)
    return debian or program(name)


@dataclass(slots=True)
class PostgreSql:
    """A PostgreSQL that listens on a Unix socket only."""

    directory: Path
    port: int
    user: str | None
    """Whose process it is, None for our own."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.directory}&port={self.port}"

    def run(self, *command: str | Path) -> subprocess.Popen[bytes]:
        """Run one of PostgreSQL's programs as its user, which is never root."""
        with (self.directory / "postgresql.log").open("ab") as output:
            return subprocess.Popen(
                command, stdout=output, stderr=output, cwd=self.directory,
                user=self.user, group=self.user, extra_groups=None if self.user is None else [],
            )  # fmt: skip

    def kill(self) -> None:
        """End it with no chance to finish anything."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(READY_WITHIN_S)

    def stop(self) -> None:
        """End it, and hang up on whoever is still there."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)  # "fast"
        self.process.wait(READY_WITHIN_S)

    def start(self) -> None:
        """Start it, also after `kill` or `stop`, and return when it answers."""
        server, is_ready = postgresql_program("postgres"), postgresql_program("pg_isready")
        give_up = time.monotonic() + READY_WITHIN_S
        while True:
            if self.process is None or self.process.poll() is not None:
                # Again and again: what was killed leaves processes that hold the shared memory for a moment.
                self.process = self.run(server, "-D", self.directory / "data", "-p", str(self.port))
            if not subprocess.run([is_ready, "-q", "-h", self.directory, "-p", str(self.port)], check=False).returncode:
                return
            if time.monotonic() > give_up:
                raise AssertionError(
                    f"PostgreSQL did not start:\n{(self.directory / 'postgresql.log').read_text(errors='replace')}"
                )
            time.sleep(0.02)


@contextmanager
def postgresql(lines: Sequence[str] = (), *, within: Path | None = None) -> Iterator[PostgreSql]:
    """Run a throw-away PostgreSQL with LINES of configuration until the end of the block; it never waits for the disk.

    Its files are WITHIN a directory that everybody may enter, by default the one for temporary files.
    """
    initdb = postgresql_program("initdb")
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    with tempfile.TemporaryDirectory(dir=within) as own:
        work = Path(own)
        if user is not None:
            shutil.chown(work, user, user)
        server = PostgreSql(work, free_port(), user)
        options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        made = server.run(initdb, "-D", work / "data", *options).wait(READY_WITHIN_S)
        assert made == 0, (work / "postgresql.log").read_text(errors="replace")
        with (work / "data" / "postgresql.conf").open("a") as file:
            fixed = (f"unix_socket_directories = '{work}'", "listen_addresses = ''", "fsync = off")
            file.write("\n".join((*fixed, *lines)) + "\n")
        try:
            server.start()
            yield server
        finally:
            server.stop()
