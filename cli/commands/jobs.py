"""`fieldbeat jobs`: the scheduled jobs alone."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import output, running, wiring
from cli.service import Service
from cli.serving import add_instruments
from cli.settings import load
from ingest.metrics import Metrics
from models.errors import LinkLost

Once = Annotated[bool, typer.Option("--once", help="Run each job once, and end.")]

_CONNECT_S = 10.0


def jobs(once: Once = False) -> None:
    """Run the scheduled jobs: sweep, republish, retention."""
    settings = load()
    output.start_logging(settings.log_level, settings.log_format)
    engine = wiring.ready_engine(settings)
    name = wiring.holder()
    store = wiring.store(settings, engine)
    link = wiring.link(settings, f"fieldbeat:jobs-{name.rpartition(':')[2]}", persistent=False)
    outbox = wiring.outbox(settings, store, link, name)
    metrics = Metrics()
    schedule = wiring.jobs(settings, engine, store, outbox, metrics, name)
    if once:
        try:
            if not link.wait_connected(_CONNECT_S):
                raise LinkLost("no answer from the broker ; is it running?")
            schedule.run_once()
        finally:
            link.close()
        return
    service = Service()
    add_instruments(service, settings, engine, link, metrics)
    service.add("jobs", schedule.run, schedule.stop)
    running.add_closing(service, link)
    service.run(lambda: output.out("ready"))
