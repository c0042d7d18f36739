"""`fieldbeat web`: the web page and read API alone, and the same as a part of `up`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cli import output, running, wiring
from cli.service import Service
from cli.settings import Settings, load

if TYPE_CHECKING:
    from broker.access import Claims
    from broker.embedded import EmbeddedBroker
    from broker.mqtt_link import MqttLink
    from ingest.metrics import Metrics
    from web.parts import PageSettings
    from web.server import Server

_LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104 nothing is bound here


def web() -> None:
    """Serve the live map, the read API, health and metrics, until Ctrl-C; the broker and the ingest run elsewhere."""
    from broker.revocation_watch import RevocationWatch

    settings = load()
    output.start_logging(settings.log_level, settings.log_format)
    engine = wiring.ready_engine(settings)
    service = Service()
    watch = RevocationWatch(lambda: wiring.revocations(engine))
    server = add_web(service, settings, watch.covers, _page(settings), lambda: _trouble(link))
    link = wiring.link(settings, f"fieldbeat:web-{secrets.token_hex(4)}", persistent=False)
    service.add("revocations", watch.run, watch.stop)
    running.add_closing(service, link)
    service.run(lambda: _greet(server.url))


def add_web(
    service: Service,
    settings: Settings,
    is_revoked: Callable[[Claims], bool],
    page: PageSettings,
    broker_trouble: Callable[[], str | None],
    *,
    metrics: Metrics | None = None,
    broker: EmbeddedBroker | None = None,
) -> Server:
    """Add the web part to SERVICE, on an engine of its own, so that readers never wait for the ingest's connections nor it for theirs."""
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
    )
    server = Server(create_app(parts), settings.http_host, settings.http_port)
    service.add("web", server.run, server.stop)
    return server


def add_embedded_web(
    service: Service,
    settings: Settings,
    broker: EmbeddedBroker,
    is_revoked: Callable[[Claims], bool],
    metrics: Metrics,
) -> Server:
    """Add the web part to a SERVICE whose broker and pipe run in this process."""
    from web.parts import PageSettings

    websocket = broker.addresses.websocket
    page = PageSettings(
        websocket_url=settings.ws_url,
        websocket_port=settings.embedded_ws_port if websocket is None else websocket[1],
        tile_url=settings.tile_url,
        tile_attribution=settings.tile_attribution,
    )

    def trouble() -> str | None:
        return None if broker.running else "the embedded broker does not run"

    return add_web(service, settings, is_revoked, page, trouble, metrics=metrics, broker=broker)


def _page(settings: Settings) -> PageSettings:
    """Return what the page is told of a broker that runs elsewhere."""
    from web.parts import PageSettings

    address = urlsplit(settings.broker)
    url = settings.ws_url
    if url is None and address.scheme in ("ws", "wss"):
        url = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
    elif url is None and address.hostname not in _LOCAL:
        scheme = "wss" if address.scheme == "mqtts" else "ws"
        host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
        url = f"{scheme}://{host}:{settings.embedded_ws_port}/mqtt"
    return PageSettings(url, settings.embedded_ws_port, settings.tile_url, settings.tile_attribution)


def _trouble(link: MqttLink) -> str | None:
    return None if link.spell is not None else link.trouble or "not connected yet"


def _greet(url: str) -> None:
    output.out("ready")
    output.out(f"page       {url}")
    output.flush()
