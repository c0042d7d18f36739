"""`fieldbeat web`: the web page and read API alone."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cli import output, running, wiring
from cli.service import Service
from cli.serving import add_web, link_trouble, page_settings
from cli.settings import Settings, load

if TYPE_CHECKING:
    from web.parts import PageSettings

_LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")  # noqa: S104 nothing is bound here


def web() -> None:
    """Serve the live map, the read API, health and metrics, until Ctrl-C; the broker and the ingest run elsewhere."""
    from broker.revocation_watch import RevocationWatch

    settings = load()
    output.start_logging(settings.log_level, settings.log_format)
    engine = wiring.ready_engine(settings)
    service = Service()
    watch = RevocationWatch(lambda: wiring.revocations(engine))
    server = add_web(service, settings, watch.covers, _page(settings), lambda: link_trouble(link))
    link = wiring.link(settings, f"fieldbeat:web-{secrets.token_hex(4)}", persistent=False)
    service.add("revocations", watch.run, watch.stop)
    running.add_closing(service, link)
    service.run(lambda: _greet(server.url))


def _page(settings: Settings) -> PageSettings:
    """Return what the page is told of a broker that runs elsewhere."""
    address = urlsplit(settings.broker)
    url = settings.ws_url
    if url is None and address.scheme in ("ws", "wss"):
        url = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
    elif url is None and address.hostname not in _LOCAL:
        scheme = "wss" if address.scheme == "mqtts" else "ws"
        host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
        url = f"{scheme}://{host}:{settings.embedded_ws_port}/mqtt"
    return page_settings(settings, url, settings.embedded_ws_port)


def _greet(url: str) -> None:
    output.out("ready")
    output.out(f"page       {url}")
    output.flush()
