"""What the long-running commands share: the parts that they add to a `Service`."""

from __future__ import annotations

import threading

from sqlalchemy import Engine

from broker.link import Link
from cli import wiring
from cli.service import Service
from cli.settings import Settings
from ingest.metrics import Metrics


def add_ingest(
    service: Service, settings: Settings, engine: Engine, link: Link, metrics: Metrics, *, jobs: bool
) -> None:
    """Add the worker, the outbox and, where JOBS says so, the schedule; stopped in this order, the link last."""
    name = wiring.holder()
    store = wiring.store(settings, engine)
    outbox = wiring.outbox(settings, store, link, name)
    worker = wiring.worker(store, link, outbox, metrics)
    service.add("ingest", worker.run, worker.stop)
    if jobs:
        schedule = wiring.jobs(settings, engine, store, outbox, metrics, name)
        service.add("jobs", schedule.run, schedule.stop)
    if settings.revocations_file is not None:
        watch = wiring.revocation_watch(settings, engine)
        service.add("revocations", watch.run, watch.stop)
    service.add("outbox", outbox.run, outbox.stop)
    add_closing(service, link)


def add_closing(service: Service, link: Link) -> None:
    """Have LINK closed when its turn comes."""
    stop = threading.Event()

    def close_when_told() -> None:
        stop.wait()
        link.close()

    service.add("link", close_when_told, stop.set)
