"""The web part as one application: read API, health, metrics and the page."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from mimetypes import add_type

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import TimeoutError as PoolTimeout

from models.errors import StoreFailed
from web import health, log, metrics, page, people, tracks
from web.head import Head
from web.parts import Parts
from web.requests import Surroundings, security_headers

_log = logging.getLogger(__name__)

READERS = 4
"""Threads that read at the same time: in one process with the ingest, readers must not take the processor from it."""


def create_app(parts: Parts) -> FastAPI:
    """Return the application made of PARTS."""
    app = _application(parts, metrics.registry(parts), "/api/openapi.json")
    for each in (people, tracks, log, health, metrics, page):
        app.include_router(each.router)
    add_type("text/javascript", ".js")  # some systems say otherwise, and a browser then refuses the module
    app.mount("/", page.files())
    return app


def create_instruments(parts: Parts) -> FastAPI:
    """Return the application of a process that serves no page: its health, and what it alone can tell of itself."""
    app = _application(parts, metrics.registry(parts, with_database=False), None)
    for each in (health, metrics):
        app.include_router(each.router)
    return app


def _application(parts: Parts, registry: CollectorRegistry, openapi_url: str | None) -> FastAPI:
    app = FastAPI(
        title="Fieldbeat",
        description="Who is out there, where, doing what, and whether that is still true. Read-only.",
        version=parts.version,
        openapi_url=openapi_url,
        docs_url=None,  # it would load scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
        exception_handlers={StoreFailed: _out_of_reach, PoolTimeout: _out_of_reach},
    )
    app.state.parts = parts
    app.state.registry = registry
    app.add_middleware(Surroundings, headers=security_headers(parts.page.tile_url), registry=registry)
    app.add_middleware(Head)
    return app


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = READERS
    yield


async def _out_of_reach(_request: Request, error: Exception) -> JSONResponse:
    _log.error("%s", error, extra={"action": "http_unavailable"})
    return JSONResponse({"detail": "the database is out of reach"}, 503, {"Retry-After": "5"})
