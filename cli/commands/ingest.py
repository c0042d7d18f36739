"""`fieldbeat ingest`: the pipe against the configured broker, in one process or several."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from cli import output, retiring, running, wiring
from cli.service import Service
from cli.serving import add_instruments
from cli.settings import Settings, load
from ingest.metrics import Metrics
from ingest.outbox import OFFLINE_NOTICE
from models.errors import BadSetting
from models.topics import SERVICE

Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        max=64,
        help="Share the load among so many processes here, and with those on other hosts that have this option too.",
    ),
]
NoJobs = Annotated[bool, typer.Option("--no-jobs", help="Leave the scheduled jobs to another process.")]
Retire = Annotated[
    list[str] | None,
    typer.Option(
        "--retire",
        metavar="CLIENT_ID",
        help="Store what the broker keeps for an ingest that shall not come back, end its session, and end. "
        "CLIENT_ID is fieldbeat:ingest or, of a worker, fieldbeat:ingest-HOST-NUMBER. May be repeated.",
    ),
]
Number = Annotated[int | None, typer.Option("--number", hidden=True)]

CLIENT_ID = "fieldbeat:ingest"
"""Always the same, so that the broker keeps what comes while nobody is there."""
SHARE = "fieldbeat"
"""The name of the shared subscription."""


def ingest(workers: Workers = None, no_jobs: NoJobs = False, retire: Retire = None, number: Number = None) -> None:
    """Take messages from the configured broker and store them, until Ctrl-C.

    With --workers the broker shares the messages out (it has to speak MQTT 5, as Mosquitto does); the result is the same.
    """
    settings = load()
    output.start_logging(settings.log_level, settings.log_format)
    if retire:
        if workers is not None or no_jobs:
            raise BadSetting("--retire goes alone: it ends when it is done")
        _retire(settings, retire)
    elif workers is None:
        _ingest(settings, CLIENT_ID, None, 1, jobs=not no_jobs)
    elif number is None and workers > 1:
        wiring.ready_engine(settings).dispose()
        _supervise(workers, no_jobs=no_jobs)
    else:
        client_id = f"{CLIENT_ID}-{socket.gethostname()}-{number or 1}"
        _ingest(settings, client_id, SHARE, number or 1, jobs=not no_jobs)


def _ingest(settings: Settings, client_id: str, share: str | None, number: int, *, jobs: bool) -> None:
    engine = wiring.ready_engine(settings)
    link = wiring.link(
        settings, client_id, persistent=True, will=None if share else (SERVICE, OFFLINE_NOTICE), share=share
    )
    service, metrics = Service(), Metrics()
    metrics.watch("queue", lambda: link.waiting)
    add_instruments(service, settings, engine, link, metrics, number)
    running.add_ingest(service, settings, engine, link, metrics, jobs=jobs)
    service.run(_greet, lambda: link.is_listening)


def _retire(settings: Settings, client_ids: Sequence[str]) -> None:
    for client_id in client_ids:
        if client_id != CLIENT_ID and not client_id.startswith(f"{CLIENT_ID}-"):
            raise BadSetting(f"--retire {client_id!r} must be {CLIENT_ID} or {CLIENT_ID}-HOST-NUMBER")
    engine = wiring.ready_engine(settings)
    for client_id in client_ids:
        stored = retiring.retire(settings, engine, client_id, None if client_id == CLIENT_ID else SHARE)
        output.out(f"{client_id}: {stored} messages stored, session ended")


def _greet() -> None:
    output.out("ready")
    output.flush()


def _supervise(workers: int, *, no_jobs: bool) -> None:
    """Run so many processes, and end with the first of them that ends."""
    service, children = Service(), []
    for number in range(1, workers + 1):
        words = [sys.executable, "-m", "cli.main", "ingest", "--workers", str(workers), "--number", str(number)]
        child = _Child([*words, "--no-jobs"] if no_jobs else words)
        children.append(child)
        service.add(f"worker {number}", child.run, child.stop)
    service.run(_greet, lambda: all(child.is_ready for child in children))


class _Child:
    """One worker process; what it prints is that it is ready."""

    def __init__(self, words: list[str]) -> None:
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)  # noqa: S603 our own command
        self.is_ready = False

    def run(self) -> None:
        """Wait until it ends, which is an error as long as nobody stopped it."""
        assert self._process.stdout is not None  # noqa: S101 a pipe, as asked for
        with self._process.stdout as printed:
            for _ in printed:
                self.is_ready = True
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
