"""`fieldbeat up`: everything in one process."""

from __future__ import annotations

import socket
import threading
from typing import Annotated

import typer

from cli import output, running, wiring
from cli.service import Service
from cli.serving import add_embedded_web, bind_web
from cli.settings import Settings, load
from ingest.metrics import Metrics

Simulate = Annotated[
    int, typer.Option("--simulate", min=0, max=5000, help="Also run a virtual fleet of so many devices.")
]
_COMPANY = "demo"


def up(simulate: Simulate = 0) -> None:
    """Run the embedded broker, ingest, the scheduled jobs and the web page in one process, until Ctrl-C."""
    settings = load()
    output.start_logging(settings.log_level, settings.log_format)
    with bind_web(settings) as listening:  # before any device is served
        _run(settings, listening, simulate)


def _run(settings: Settings, listening: socket.socket, simulate: int) -> None:
    from broker.embedded import LocalLink

    engine = wiring.ready_engine(settings)
    service, metrics = Service(), Metrics()
    watch = wiring.revocation_watch(settings, engine)
    broker = wiring.embedded_broker(settings, watch.covers)
    broker.start()
    try:
        metrics.watch("queue", lambda: broker.counters.held)
        demo = wiring.demo_token(settings, _COMPANY) if simulate else None
        page = add_embedded_web(service, settings, broker, watch.covers, metrics, listening, demo)
        link = LocalLink(broker)
        if simulate:
            _add_fleet(service, settings, simulate, broker.addresses.tcp)
        running.add_ingest(service, settings, engine, link, metrics, jobs=True)
        service.add("revocations", watch.run, watch.stop)
        service.run(lambda: _greet(settings, broker.addresses.tcp, broker.addresses.websocket, page.url, simulate))
    finally:
        broker.stop()


def _add_fleet(service: Service, settings: Settings, devices: int, address: tuple[str, int]) -> None:
    from cli.fleet.options import FleetOptions
    from cli.fleet.run import run_fleet

    stop = threading.Event()
    options = FleetOptions.of(settings, _COMPANY, devices, broker_url=f"mqtt://{address[0]}:{address[1]}")
    service.add("fleet", lambda: run_fleet(options, stop), stop.set)


def _greet(
    settings: Settings, tcp: tuple[str, int], websocket: tuple[str, int] | None, page: str, simulate: int
) -> None:
    output.out("ready")
    output.out(f"page       {page}")
    output.out(f"MQTT       mqtt://{tcp[0]}:{tcp[1]}")
    if websocket is not None:
        output.out(f"WebSocket  ws://{websocket[0]}:{websocket[1]}/mqtt")
    output.out(f"data       {settings.data_dir}")
    if simulate:
        output.out(f"fleet      {simulate} virtual devices; look with: fieldbeat who --company {_COMPANY}")
    output.flush()
