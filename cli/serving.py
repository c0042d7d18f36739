"""The web part within a `Service`: beside a broker that runs elsewhere, around the embedded one, and as bare instruments."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from cli import wiring
from cli.service import Service
from cli.settings import Settings

if TYPE_CHECKING:
    from broker.access import Claims
    from broker.embedded import EmbeddedBroker
    from broker.mqtt_link import MqttLink
    from ingest.metrics import Metrics
    from web.parts import PageSettings
    from web.server import Server

_PATIENCE_S = 2.0
"""For how long a broker may keep whoever asks for its readiness waiting."""


def bind_web(settings: Settings) -> socket.socket:
    """Return the socket of the web part; raise `BadSetting` when its address cannot be had."""
    from web.server import bind

    return bind(settings.http_host, settings.http_port)


def add_web(
    service: Service,
    settings: Settings,
    is_revoked: Callable[[Claims], bool],
    page: PageSettings,
    broker_trouble: Callable[[], str | None],
    *,
    listening: socket.socket | None = None,
    metrics: Metrics | None = None,
    broker: EmbeddedBroker | None = None,
    demo_token: Callable[[], str] | None = None,
) -> Server:
    """Add the web part to SERVICE, on an engine of its own, so that readers never wait for the ingest's connections nor it for theirs.

    LISTENING is its socket, if that is bound already.
    """
    from web.app import create_app
    from web.parts import Parts
    from web.server import Server

    parts = Parts(
        engine=wiring.engine(settings),
        verify=wiring.verifier(settings).verify,
        is_revoked=is_revoked,
        clock=wiring.now,
        terms=wiring.terms(settings),
        listening_gap_s=settings.listening_gap_s,
        broker_trouble=broker_trouble,
        version=wiring.version(),
        page=page,
        pipe=metrics,
        broker_counters=None if broker is None else lambda: broker.counters,
        demo_token=demo_token,
    )
    server = Server(create_app(parts), listening or bind_web(settings))
    service.add("web", server.run, server.stop)
    return server


def page_settings(settings: Settings, websocket_url: str | None, websocket_port: int) -> PageSettings:
    """Return what the page is told of a broker that listens there."""
    from web.parts import PageSettings

    file = settings.tile_file
    return PageSettings(
        websocket_url=websocket_url,
        websocket_port=websocket_port,
        tile_url=settings.tile_url if file is None else None,
        tile_file=file,
        tile_attribution=settings.tile_attribution,
    )


def add_embedded_web(
    service: Service,
    settings: Settings,
    broker: EmbeddedBroker,
    is_revoked: Callable[[Claims], bool],
    metrics: Metrics,
    listening: socket.socket,
    demo_token: Callable[[], str] | None,
) -> Server:
    """Add the web part to a SERVICE whose broker and pipe run in this process."""
    websocket = broker.addresses.websocket
    page = page_settings(settings, settings.ws_url, settings.embedded_ws_port if websocket is None else websocket[1])
    return add_web(
        service,
        settings,
        is_revoked,
        page,
        lambda: broker.trouble(_PATIENCE_S),
        listening=listening,
        metrics=metrics,
        broker=broker,
        demo_token=demo_token,
    )


def add_instruments(
    service: Service, settings: Settings, engine: Engine, link: MqttLink, metrics: Metrics, number: int = 1
) -> None:
    """Add health and metrics to the NUMBERth process of a SERVICE without a page, if a port for them is set."""
    if settings.metrics_port is None:
        return
    from web.app import create_instruments
    from web.parts import Parts
    from web.server import Server, bind

    parts = Parts(
        engine=engine,
        verify=wiring.verifier(settings).verify,
        is_revoked=lambda _claims: False,
        clock=wiring.now,
        terms=wiring.terms(settings),
        listening_gap_s=settings.listening_gap_s,
        broker_trouble=lambda: link_trouble(link),
        version=wiring.version(),
        pipe=metrics,
    )
    port = settings.metrics_port and settings.metrics_port + number - 1
    server = Server(create_instruments(parts), bind(settings.http_host, port, "FIELDBEAT_METRICS_PORT"))
    service.add("instruments", server.run, server.stop)


def link_trouble(link: MqttLink) -> str | None:
    """Return what is wrong with LINK, None when it is connected."""
    return None if link.spell is not None else link.trouble or "not connected yet"
