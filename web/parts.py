"""What the web part is made of: handed in by whoever starts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace
from sqlalchemy import Connection, Engine

from broker.access import Claims
from broker.embedded.counters import Snapshot
from ingest.dialect import Dialect
from ingest.metrics import Metrics
from models import queries
from models.standing import Terms


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What the page is told: where its broker listens for WebSockets, and which tiles it may draw."""

    websocket_url: str | None = None
    """The whole URL; without one the page takes the host it came from, and the port below."""
    websocket_port: int = 8083
    tile_url: str | None = None
    """Of tiles with {z}, {x} and {y}, or of a PMTiles file."""
    tile_file: Path | None = None
    """A PMTiles file, which is served beside the page."""
    tile_attribution: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """An open look at the database, true at `now`."""

    connection: Connection
    now: datetime
    terms: Terms


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the routes need; a callable answers for the moment at which it is called."""

    engine: Engine
    verify: Callable[[str], Claims]
    is_revoked: Callable[[Claims], bool]
    clock: Callable[[], datetime]
    terms: Terms
    listening_gap_s: float
    broker_trouble: Callable[[], str | None]
    """What is wrong with the broker, None when it answers."""
    version: str
    page: PageSettings = field(default_factory=PageSettings)
    pipe: Metrics | None = None
    """The counters of the pipe, where it runs in this process."""
    broker_counters: Callable[[], Snapshot] | None = None
    demo_token: Callable[[], str] | None = None
    """Makes a token that shows the virtual fleet, where one may be given to everybody who opens the page."""

    @contextmanager
    def looking(self) -> Iterator[Look]:
        """Look into the database; raise `StoreFailed` when it is out of reach."""
        with Dialect(self.engine).reading() as connection:
            now = self.clock()
            since = queries.listening_since(connection, now, self.listening_gap_s)
            yield Look(connection, now, replace(self.terms, listening_since=since))
