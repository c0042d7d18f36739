"""A small company in a database of its own, filled as the pipe fills it, and the command run upon it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from broker.link import Delivery
from cli import wiring
from cli.main import main
from cli.settings import Settings
from ingest.decode import decode
from ingest.store import Store

REPOSITORY = Path(__file__).parents[2]
LISTENED_S = 7200.0


DATABASE = "fieldbeat.db"


@cache
def _empty_database() -> bytes:
    """Return a database with its schema and nothing in it: migrating one for every test takes longer than the tests."""
    with TemporaryDirectory() as place:
        wiring.ready_engine(Settings(data_dir=Path(place))).dispose()
        return (Path(place) / DATABASE).read_bytes()


class Ended(NamedTuple):
    """How a command ended, and what it printed where."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 a test knows what it asked for
        return json.loads(self.out)


@dataclass
class Field:
    """The data directory is the working directory's; times are told as seconds before now."""

    place: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        settings = Settings(data_dir=self.place / ".fieldbeat")
        (wiring.data_dir(settings) / DATABASE).write_bytes(_empty_database())
        self.engine = wiring.ready_engine(settings)
        self.store = Store(self.engine, wiring.terms(settings), listening_gap_s=2 * LISTENED_S)

    def listen(self) -> None:
        """Let a worker have been listening for two hours, up to now."""
        self.store.listen(self.now - timedelta(seconds=LISTENED_S))
        self.store.listen(self.now)

    def ago(self, seconds: float) -> datetime:
        return self.now - timedelta(seconds=seconds)

    def tell(
        self, user: str, ago_s: float, *, channel: str = "presence", raw: bytes | None = None, **said: object
    ) -> None:
        """Let USER of acme have sent a message that was received AGO_S before now."""
        payload = json.dumps(said).encode() if raw is None else raw
        received = self.ago(ago_s)
        delivery = Delivery(f"company/acme/{channel}/{user}", payload, received, lambda: None)
        self.store.write([decode(delivery)], received)


class Command:
    """Runs `fieldbeat` in this process, in a working directory of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ended:
        self._capsys.readouterr()
        with _logging_kept():
            status = main(arguments)
        return Ended(status, *self._capsys.readouterr())


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Undo what a command sets for the rest of its process, which here is that of all tests."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this environment without settings of ours, with EXTRA."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FIELDBEAT_")}
    return own | {"PYTHONPATH": str(REPOSITORY)} | dict(extra or {})


def run(place: Path, *arguments: str, **settings: str) -> Ended:
    """Run `fieldbeat` as a process of its own in PLACE, with settings given as FIELDBEAT_ variables."""
    variables = {f"FIELDBEAT_{name.upper()}": value for name, value in settings.items()}
    done = subprocess.run(  # noqa: S603 our own command
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=place,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
