"""HEAD on every route: what GET would answer, without its body [RFC 9110 section 9.3.2]."""

from __future__ import annotations

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Head:
    """ASGI middleware: asks for HEAD as for GET, and ends the answer where its body begins, however long that would be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        with anyio.CancelScope() as enough:

            async def send_without_body(message: Message) -> None:
                if message["type"] == "http.response.body":
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    enough.cancel()  # a track may go on for months
                else:
                    await send(message)

            await self._app({**scope, "method": "GET"}, receive, send_without_body)
