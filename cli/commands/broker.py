"""`fieldbeat broker`: the embedded broker alone."""

from __future__ import annotations

from cli import output, wiring
from cli.service import Service
from cli.settings import load


def broker() -> None:
    """Run the embedded broker alone, until Ctrl-C; `fieldbeat ingest` connects to it."""
    settings = load()
    output.start_logging(settings.log_level, settings.log_format)
    watch = wiring.revocation_watch(settings, wiring.ready_engine(settings))
    server = wiring.embedded_broker(settings, watch.covers)
    server.start()
    service = Service()
    service.add("revocations", watch.run, watch.stop)

    def greet() -> None:
        tcp, websocket = server.addresses.tcp, server.addresses.websocket
        output.out("ready")
        output.out(f"MQTT       mqtt://{tcp[0]}:{tcp[1]}")
        if websocket is not None:
            output.out(f"WebSocket  ws://{websocket[0]}:{websocket[1]}/mqtt")
        output.flush()

    try:
        service.run(greet)
    finally:
        server.stop()
