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


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """A running Mosquitto."""

    port: int
    ws_port: int
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.directory / "mosquitto.log").read_text(errors="replace")

    def hang_up(self) -> None:
        """Send the signal with which logrotate makes it reload."""
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def mosquitto(lines: Sequence[str], directory: Path | None = None, wrapper: Sequence[str] = ()) -> Iterator[Mosquitto]:
    """Run Mosquitto with LINES added to two loopback listeners (TCP, WebSocket) until the end of the block.

    DIRECTORY keeps its persistence from one run to the next. WRAPPER goes before the command, such as `runuser -u x --`.
    """
    command, port, ws_port = program("mosquitto"), free_port(), free_port()
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
        with log.open("ab") as output:
            process = subprocess.Popen([*wrapper, command, "-c", work / "mosquitto.conf"], stdout=output, stderr=output)
        try:
            wait_until_listening(port, process, log)
            yield Mosquitto(port, ws_port, work, process)
        finally:
            process.terminate()
            process.wait(READY_WITHIN_S)


def postgresql_program(name: str) -> str:
    """Return the path of a program of the newest PostgreSQL; see `program`."""
    versions = sorted(_DEBIAN_POSTGRESQL.glob("*/bin"), key=lambda found: float(found.parent.name), reverse=True)
    debian = next((str(found / name) for found in versions if (found / name).is_file()), None)
    return debian or program(name)


@dataclass(frozen=True, slots=True)
class PostgreSql:
    """A running PostgreSQL that listens on a Unix socket only."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.directory}&port={self.port}"


@contextmanager
def postgresql(lines: Sequence[str] = ()) -> Iterator[PostgreSql]:
    """Run a throw-away PostgreSQL with LINES of configuration until the end of the block; it never waits for the disk."""
    initdb, server, is_ready = (postgresql_program(name) for name in ("initdb", "postgres", "pg_isready"))
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    with tempfile.TemporaryDirectory() as own:
        work, data, log = Path(own), Path(own) / "data", Path(own) / "postgresql.log"
        if user is not None:
            shutil.chown(work, user, user)
        with log.open("wb") as output:
            subprocess.run(
                [initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
                check=True, stdout=output, stderr=output, user=user, group=user, extra_groups=[], cwd=work,
            )  # fmt: skip
            with (data / "postgresql.conf").open("a") as file:
                fixed = (f"unix_socket_directories = '{work}'", "listen_addresses = ''", "fsync = off")
                file.write("\n".join((*fixed, *lines)) + "\n")
            port = free_port()
            process = subprocess.Popen(
                [server, "-D", data, "-p", str(port)],
                stdout=output, stderr=output, user=user, group=user, extra_groups=[], cwd=work,
            )  # fmt: skip
        try:
            give_up = time.monotonic() + READY_WITHIN_S
            while subprocess.run([is_ready, "-q", "-h", work, "-p", str(port)], check=False).returncode:
                if process.poll() is not None or time.monotonic() > give_up:
                    raise AssertionError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
                time.sleep(0.02)
            yield PostgreSql(work, port, process)
        finally:
            process.send_signal(signal.SIGINT)  # "fast": it hangs up on whoever is still there
            process.wait(READY_WITHIN_S)
