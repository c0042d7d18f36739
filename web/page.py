"""The live map: its files, and what it is told when it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from models.events import rfc3339
from web.auth import TheParts

STATIC = Path(__file__).with_name("static")
VENDOR = STATIC / "vendor"

router = APIRouter(include_in_schema=False)


@router.get("/")
def page() -> Response:
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


@router.get("/favicon.ico")
def favicon() -> Response:
    return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml")


@router.get("/config.json")
def config(parts: TheParts) -> JSONResponse:
    """Tell the page where the broker is, and what time it is here: ages are told by the service's clock."""
    settings = parts.page
    tiles = None if settings.tile_url is None else {"url": settings.tile_url, "attribution": settings.tile_attribution}
    told: dict[str, Any] = {
        "websocketUrl": settings.websocket_url,
        "websocketPort": settings.websocket_port,
        "tiles": tiles,
        "version": parts.version,
        "now": rfc3339(parts.clock()),
    }
    return JSONResponse(told, headers={"Cache-Control": "no-store"})


def files() -> StaticFiles:
    """Return what serves everything below `static/`; a browser asks each time whether its copy is still the newest."""
    return _Revalidated(directory=STATIC)


class _Revalidated(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 Starlette's signature
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
