"""The plug-in, compiled once a test run, in a real Mosquitto."""

from __future__ import annotations

import functools
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from broker.access import Claims, Role
from broker.mosquitto import build, revocations
from broker.tokens import Key, Revocations, issue
from models.errors import NotFound
from tests.servers import Mosquitto, absent, mosquitto

WAIT_S = 10.0
KEY = Key.from_secret("a secret of this test run, 32 bytes")
_ROOT = Path(__file__).parents[2]


@functools.cache
def plugin() -> Path:
    """Return the compiled plug-in; without what it takes to compile it, the test is skipped."""
    try:
        python = build.interpreter()
    except NotFound as error:
        absent(str(error))
        raise
    return build.build(Path(_scratch().name), python)


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@dataclass(frozen=True, slots=True)
class Plugged:
    """A Mosquitto with the plug-in, and the files that it watches."""

    server: Mosquitto
    files: Path

    @property
    def port(self) -> int:
        return self.server.port

    def revoke(self, revoked: Revocations) -> None:
        revocations.publish(self.files / "revocations.json", revoked)


def replace(path: Path, text: str) -> None:
    """Replace PATH as a whole, as the service does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def options(files: Path) -> list[str]:
    """Return the lines that load the plug-in with its key material in FILES."""
    return [
        "allow_anonymous false",
        f"plugin {plugin()}",
        f"plugin_opt_python_path {_ROOT}:{sysconfig.get_path('purelib')}",
        f"plugin_opt_secret_file {files / 'secret'}",
        f"plugin_opt_revocations_file {files / 'revocations.json'}",
    ]


def write_files(files: Path) -> None:
    """Make the key material that `options` names."""
    (files / "secret").write_text("a secret of this test run, 32 bytes\n")
    revocations.publish(files / "revocations.json", Revocations())


@contextmanager
def plugged(directory: Path, *lines: str) -> Iterator[Plugged]:
    """Run Mosquitto with the plug-in and LINES; DIRECTORY keeps all files from one run to the next."""
    if not (directory / "secret").exists():
        write_files(directory)
    with mosquitto([*options(directory), *lines], directory) as server:
        until(lambda: server.log.count("open for every client id") == server.log.count("ready, on Python"))
        yield Plugged(server, directory)


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that only a log or a file shows."""
    give_up = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def token(
    user: str,
    role: Role = Role.DEVICE,
    company: str = "acme",
    *,
    ttl_s: float = 300,
    key: Key = KEY,
    jti: str | None = None,
) -> str:
    """Return a token that ends in TTL_S seconds."""
    now = datetime.now(UTC)
    return issue(key, Claims(company, user, role, now + timedelta(seconds=ttl_s), now, jti))
