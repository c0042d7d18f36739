"""The servers of a benchmark: Mosquitto and PostgreSQL as in production, and the programs that read from the one into the other."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.access import Role
from broker.mosquitto import build
from tests.integration.plugged import plugged, token
from tests.servers import Mosquitto, PostgreSql, mosquitto, postgresql

FILTER = "company/+/presence/+"
SECRET = "a secret of this test run, 32 bytes"  # noqa: S105 the one that `plugged` gives the plug-in; it guards nothing
_ROOT = Path(__file__).parents[1]
_READY_WITHIN_S = 60.0
_LIMITS = (
    "set_tcp_nodelay", "persistence ", "autosave_", "persistent_client_expiration", "max_", "queue_qos0_messages",
    "message_size_limit", "sys_interval",
)  # fmt: skip
"""How the lines of mosquitto.conf begin that are about what survives and how much."""
_PRODUCTION = (
    "fsync = on", "synchronous_commit = on", "shared_buffers = 1GB", "max_wal_size = 4GB", "max_locks_per_transaction = 256",
)  # fmt: skip
"""Against what tests want a commit waits for the disk here; the rest is what docs/how-to/production.md sets."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A Mosquitto with the limits of mosquitto.conf."""

    server: Mosquitto
    plugged: bool

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def pid(self) -> int:
        return self.server.process.pid

    def wait_for_subscriber(self) -> None:
        """Return when somebody reads the heartbeats."""
        subscribed = re.compile(rf" 1 (\$share/\w+/)?{re.escape(FILTER)}$", re.MULTILINE)
        give_up = time.monotonic() + _READY_WITHIN_S
        while not subscribed.search(self.server.log):
            if time.monotonic() > give_up:
                raise SystemExit(f"nobody subscribed:\n{self.server.log[-2000:]}")
            time.sleep(0.05)


@contextmanager
def broker(*lines: str) -> Iterator[Broker]:
    """Run Mosquitto with the plug-in, or, where that cannot be built, with the same limits and without tokens."""
    with tempfile.TemporaryDirectory() as own:
        more = [*_limits(), f"persistence_location {own}/", "log_type subscribe", "log_type error", *lines]
        if build.missing():
            with mosquitto(["allow_anonymous true", *more], Path(own)) as server:
                yield Broker(server, plugged=False)
        else:
            # The plug-in says that it is ready with a notice.
            with plugged(Path(own), "log_type notice", "connection_messages false", *more) as rig:
                yield Broker(rig.server, plugged=True)


def _limits() -> list[str]:
    lines = (_ROOT / "mosquitto.conf").read_text("utf-8").splitlines()
    return [line for line in lines if line.startswith(_LIMITS)]


def service_token(user: str) -> str:
    """Return a token with which USER may publish for everybody, and read everything."""
    return token(user, Role.SERVICE, "fieldbeat", ttl_s=86_400)


@contextmanager
def database(*lines: str) -> Iterator[PostgreSql]:
    """Run a PostgreSQL whose commits wait for the disk."""
    with postgresql([*_PRODUCTION, *lines]) as server:
        yield server


@contextmanager
def program(
    command: Sequence[str | Path], directory: Path, environment: Mapping[str, str], output: Path | None = None
) -> Iterator[int]:
    """Run COMMAND in DIRECTORY until the end of the block and yield its pid; its log is kept for when it fails."""
    log = directory / "program.log"
    with log.open("wb") as errors, (output or log.with_suffix(".out")).open("wb") as out:
        process = subprocess.Popen(
            command, cwd=directory, env={**environment, "PYTHONPATH": str(_ROOT)}, stdout=out, stderr=errors
        )
        try:
            yield process.pid
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended by itself:\n{log.read_text(errors='replace')[-2000:]}")
        finally:
            process.terminate()
            process.wait(_READY_WITHIN_S)


@contextmanager
def ingest(on: Broker, database_url: str, directory: Path, *words: str, **settings: str) -> Iterator[int]:
    """Run `fieldbeat ingest` until the end of the block, and yield its pid once it has subscribed."""
    named = {
        "broker_url": f"mqtt://127.0.0.1:{on.port}", "database_url": database_url, "data_dir": str(directory / "data"),
        "jwt_secret": SECRET, "log_level": "warning", **settings,
    }  # fmt: skip
    environment = {f"FIELDBEAT_{name.upper()}": value for name, value in named.items()}
    with program([sys.executable, "-m", "cli.main", "ingest", *words], directory, environment) as pid:
        on.wait_for_subscriber()
        yield pid
