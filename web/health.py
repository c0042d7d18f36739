"""Whether the process lives, and whether what it depends on answers."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from models import queries
from models.errors import StoreFailed
from web.auth import TheParts
from web.parts import Parts

router = APIRouter(tags=["instruments"])


@router.get("/healthz", summary="The process lives.")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Broker and database answer.",
    responses={503: {"description": "One of them does not; the reason is in the answer."}},
)
def readyz(parts: TheParts) -> JSONResponse:
    troubles = {"broker": parts.broker_trouble(), "database": _database_trouble(parts)}
    wrong = any(trouble is not None for trouble in troubles.values())
    answer = {"status": "unavailable" if wrong else "ok"} | {
        name: trouble or "ok" for name, trouble in troubles.items()
    }
    return JSONResponse(answer, 503 if wrong else 200, {"Cache-Control": "no-store"})


def _database_trouble(parts: Parts) -> str | None:
    try:
        with parts.looking() as look:
            queries.last_listened(look.connection)
    except StoreFailed as error:
        return str(error)
    if parts.pipe is not None and parts.pipe.gauges().get("store_failing"):
        return "the database cannot be written"  # to be read is not enough where the ingest runs
    return None
