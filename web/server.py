"""The HTTP server, and its socket, which is bound first: a port that is taken is known before anything runs."""

from __future__ import annotations

import logging
import os
import socket

import uvicorn
from fastapi import FastAPI

from models.errors import BadSetting

_BACKLOG = 256
_GRACE_S = 2
_MOST_AT_ONCE = 512


def bind(host: str, port: int, setting: str = "FIELDBEAT_HTTP_PORT") -> socket.socket:
    """Return a socket that listens there; raise `BadSetting`, which names the SETTING of the port, when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise BadSetting(f"{setting}, FIELDBEAT_HTTP_HOST: cannot listen on {host}:{port}: {_reason(error)}") from None
    # Inherited by each connection. asyncio sets it only where the socket names its protocol, and create_server's does not.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _reason(error: OSError | OverflowError) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)


class Server:
    """Serves an application on a LISTENING socket from a thread of the caller's, until stopped; the socket is then closed."""

    def __init__(self, app: FastAPI, listening: socket.socket) -> None:
        self._socket = listening
        logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it says at length that it starts
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                limit_concurrency=_MOST_AT_ONCE,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )

    @property
    def url(self) -> str:
        """The address that people open."""
        host, port = self._socket.getsockname()[:2]
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 nothing is bound here
        return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"

    def run(self) -> None:
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Take no more requests, finish those at hand, and end `run`."""
        self._server.should_exit = True
