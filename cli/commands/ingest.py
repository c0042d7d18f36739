"""`fieldbeat ingest`: the pipe against the configured broker."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import output, running, wiring
from cli.service import Service
from cli.settings import load
from ingest.metrics import Metrics
from ingest.outbox import OFFLINE_NOTICE
from models.topics import SERVICE

NoJobs = Annotated[bool, typer.Option("--no-jobs", help="Leave the scheduled jobs to another process.")]

CLIENT_ID = "fieldbeat:ingest"
"""Always the same, so that the broker keeps what comes while nobody is there."""


def ingest(no_jobs: NoJobs = False) -> None:
    """Take messages from the configured broker and store them, until Ctrl-C."""
    settings = load()
    output.start_logging(settings.log_level, settings.log_format)
    engine = wiring.ready_engine(settings)
    link = wiring.link(settings, CLIENT_ID, persistent=True, will=(SERVICE, OFFLINE_NOTICE))
    service = Service()
    running.add_ingest(service, settings, engine, link, Metrics(), jobs=not no_jobs)

    def greet() -> None:
        output.out("ready")
        output.flush()

    service.run(greet)
