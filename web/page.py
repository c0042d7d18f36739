"""The live map: its files, and what it is told when it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from models.events import rfc3339
from web.auth import TheParts, not_found
from web.parts import PageSettings
from web.requests import is_archive

STATIC = Path(__file__).with_name("static")
VENDOR = STATIC / "vendor"

TILE_FILE = "tiles.pmtiles"

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
    told: dict[str, Any] = {
        "websocketUrl": settings.websocket_url,
        "websocketPort": settings.websocket_port,
        "tiles": _tiles(settings),
        "demo": parts.demo_token is not None,
        "version": parts.version,
        "now": rfc3339(parts.clock()),
    }
    return JSONResponse(told, headers={"Cache-Control": "no-store"})


@router.post("/demo-token")
def demo_token(parts: TheParts) -> JSONResponse:
    """Give whoever looks at a virtual fleet the token for it; scripts of other origins cannot read the answer."""
    if parts.demo_token is None:
        raise not_found()
    return JSONResponse({"token": parts.demo_token()}, headers={"Cache-Control": "no-store"})


def _tiles(settings: PageSettings) -> dict[str, Any] | None:
    """Return where the page's tiles are, and whether all of them are in one PMTiles file."""
    url = settings.tile_url if settings.tile_file is None else TILE_FILE
    if url is None:
        return None
    return {"url": url, "archive": is_archive(url), "attribution": settings.tile_attribution}


@router.get(f"/{TILE_FILE}")
def tile_file(parts: TheParts) -> Response:
    """Give out the PMTiles file, of which the page asks for ranges [RFC 9110 section 14]."""
    file = parts.page.tile_file
    if file is None or not file.is_file():
        raise not_found()
    return FileResponse(file, media_type="application/vnd.pmtiles", headers={"Cache-Control": "max-age=3600"})


def files() -> StaticFiles:
    """Return what serves everything below `static/`; a browser asks each time whether its copy is still the newest."""
    return _Revalidated(directory=STATIC)


class _Revalidated(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 Starlette's signature
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
