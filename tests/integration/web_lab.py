"""The web part on a free port, over a small company in a database of its own."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx

from broker.access import Claims, Role
from broker.embedded.counters import Snapshot
from broker.tokens import Key, Verifier, issue
from cli import wiring
from cli.settings import Settings
from ingest.metrics import Metrics
from tests.integration.field import Field
from web.app import create_app
from web.parts import PageSettings, Parts
from web.server import Server, bind

KEY = Key.from_secret("a secret for tests, of more than 32 bytes")


def token(company: str = "acme", user: str = "dispatcher", role: Role = Role.DASHBOARD, **more: str) -> str:
    now = wiring.now()
    return issue(KEY, Claims(company, user, role, now + timedelta(hours=1), issued_at=now, **more))


@dataclass
class Lab:
    """What the web part is made of here, and how it is asked."""

    field: Field
    metrics: Metrics = dataclasses.field(default_factory=Metrics)
    revoked: set[str] = dataclasses.field(default_factory=set)
    trouble: str | None = None
    page: PageSettings = dataclasses.field(default_factory=PageSettings)
    counters: Snapshot = dataclasses.field(
        default_factory=lambda: Snapshot(connections_open=3, dropped={"too_large": 2}, refused={"credentials": 1})
    )
    client: httpx.Client = dataclasses.field(init=False)

    @property
    def parts(self) -> Parts:
        settings = Settings(data_dir=self.field.place / ".fieldbeat")
        return Parts(
            engine=self.field.engine,
            verify=Verifier.of([KEY], ["HS256"], timedelta(days=1), wiring.now).verify,
            is_revoked=lambda claims: claims.token_id in self.revoked,
            clock=wiring.now,
            terms=wiring.terms(settings),
            listening_gap_s=3600,
            broker_trouble=lambda: self.trouble,
            version="1.2.3",
            page=self.page,
            pipe=self.metrics,
            broker_counters=lambda: self.counters,
        )

    def get(self, path: str, bearer: str | None = None, **headers: str) -> httpx.Response:
        """Ask for PATH, below acme's if it does not begin at the root; as acme's dispatcher unless BEARER is another token."""
        url = path if path.startswith("/") else f"/api/companies/acme/{path}"
        given = token() if bearer is None else bearer
        return self.client.get(url, headers=({"Authorization": f"Bearer {given}"} if given else {}) | headers)


@contextmanager
def lab(place: Path, page: PageSettings = PageSettings()) -> Iterator[Lab]:  # noqa: B008 a frozen value
    """Run the web part in a thread until the end of the block."""
    made = Lab(Field(place), page=page)
    server = Server(create_app(made.parts), bind("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, name="web under test")
    thread.start()
    try:
        with httpx.Client(base_url=server.url, timeout=20) as made.client:
            yield made
    finally:
        server.stop()
        thread.join(10)
        made.field.engine.dispose()
        assert not thread.is_alive()
