"""Around every request: how long it took, and the headers that keep a browser from doing what the page never asks of it."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


def security_headers(tile_url: str | None) -> dict[str, str]:
    """Return the headers of every answer. Connections may go anywhere by WebSocket, because the broker may be anywhere."""
    pictures = archive = ""
    if tile_url is not None and is_archive(tile_url):
        archive = f" {tile_origin(tile_url)}"
    elif tile_url is not None:
        pictures = f" {tile_origin(tile_url)}"
    policy = (
        "default-src 'self'",
        f"connect-src 'self' ws: wss:{archive}",
        f"img-src 'self' data:{pictures}",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def is_archive(tile_url: str) -> bool:
    """Whether all tiles are in one PMTiles file, of which ranges are read."""
    return urlsplit(tile_url).path.endswith(".pmtiles")


def tile_origin(tile_url: str) -> str:
    """Return where tiles come from, as a policy names it; `{s}` stands for any host below."""
    parts = urlsplit(tile_url)
    return f"{parts.scheme}://{parts.netloc.replace('{s}', '*')}"


class Surroundings:
    """ASGI middleware [asgi.readthedocs.io]; it never looks into bodies, so that what streams goes on streaming."""

    def __init__(self, app: ASGIApp, headers: dict[str, str], registry: CollectorRegistry) -> None:
        self._app = app
        self._headers = headers
        self._durations = Histogram(
            "fieldbeat_http_request_seconds",
            "How long requests took, to the end of their answers.",
            ["route", "status"],
            registry=registry,
            buckets=_BUCKETS_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            # The template of the route, and never the path, which anybody can make up.
            route = getattr(scope.get("route"), "path", "other")
            self._durations.labels(route, str(status)).observe(time.perf_counter() - started)
