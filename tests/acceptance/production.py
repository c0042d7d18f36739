"""A production site for a story: Mosquitto with the plug-in, PostgreSQL, and the real `fieldbeat ingest` between them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from tests.acceptance.field import Field, new_field, until
from tests.acceptance.persistent import Message
from tests.acceptance.tap import Tap, Told, tapped
from tests.integration.plugged import options, token, write_files
from tests.integration.raw_mqtt import RawClient, connect, publish
from tests.servers import Mosquitto, PostgreSql, mosquitto, postgresql

SECRET = "a secret of this test run, 32 bytes"
_OF_RECEIPT = ("rev", "since", "lastSeenAt", "statusUpdatedAt")
"""What tells when and how often something was announced, and so differs from run to run."""
_PUBACK = 4


@dataclass(slots=True)
class Site:
    """Where a story happens. All that the ingest says to the broker goes through the tap."""

    field: Field
    broker: Mosquitto
    database: PostgreSql
    tap: Tap
    name: str = "postgres"

    def use_database(self, name: str) -> None:
        """Make an empty database for the commands from here on."""
        self.sql(f"CREATE DATABASE {name}", database="postgres")
        self.name = name
        self.field.settings["FIELDBEAT_DATABASE_URL"] = self.database.url(name)

    def start_ingest(self, *options: str, name: str = "ingest", processes: int = 1) -> subprocess.Popen[bytes]:
        """Start `fieldbeat ingest` with OPTIONS; all of its PROCESSES have subscribed when it says that it is ready."""
        before = self.tap.subscribed
        process = self.field.start("ingest", *options, name=name)
        assert self.tap.subscribed >= before + processes
        return process

    def sql(self, statement: str, database: str = "") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser and return its rows."""
        engine = create_engine(self.database.url(database or self.name), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.exec_driver_sql(statement)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    def count(self, table: str) -> int:
        """Return how many rows TABLE has."""
        [(number,)] = self.sql(f"SELECT count(*) FROM {table}")  # noqa: S608 a table's name, from a test
        return int(number)

    def acknowledged(self, messages: Iterable[Told]) -> bool:
        """Whether the ingest has acknowledged all of MESSAGES."""
        return self.tap.acknowledged.issuperset(messages)

    def send(self, user: str, messages: Iterable[Message]) -> None:
        """Publish MESSAGES in their order as USER's device, each acknowledged by the broker."""
        packets = [
            publish(f"company/acme/{channel}/{user}", payload, 1, number % 60_000 + 1)
            for number, (channel, payload) in enumerate(messages)
        ]
        with RawClient(self.field.port) as client:
            client.send(connect(f"acme:{user}:again", user, token(user)))
            assert client.answer() is not None
            for start in range(0, len(packets), 100):
                part = packets[start : start + 100]
                client.send(*part)
                for _ in part:
                    answer = client.answer()
                    assert answer is not None
                    assert answer.kind == _PUBACK

    def states(self) -> dict[str, Any]:
        """Return the roster, without what depends on the time of receipt."""
        return {user: _without_receipt(state) for user, state in self.field.who().items()}

    def track(self, user: str) -> list[tuple[float, str]]:
        """Return the position history of USER: latitude and the device's time."""
        lines = self.field.run("track", "--company", "acme", "--user", user, "--format", "csv").stdout.splitlines()
        columns = lines[0].split(",")
        rows = [dict(zip(columns, line.split(","), strict=True)) for line in lines[1:]]
        return sorted((float(row["latitude"]), row["at"]) for row in rows)


def _without_receipt(state: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in state.items() if name not in _OF_RECEIPT}
    devices = [{name: value for name, value in device.items() if name != "lastSeenAt"} for device in state["devices"]]
    return kept | {"devices": sorted(devices, key=lambda device: str(device["device"]))}


@contextmanager
def site(
    home: Path, *lines: str, postgresql_lines: tuple[str, ...] = (), users: Iterable[str] = (), **settings: str
) -> Iterator[Site]:
    """Set a site up in HOME, with LINES in mosquitto.conf; the ingest is not started. USERS have tokens from the start."""
    files = home / "mosquitto"
    files.mkdir()
    write_files(files)
    persistence = ("persistence true", f"persistence_location {files}/")
    with (
        postgresql(postgresql_lines) as database,
        mosquitto([*options(files), *persistence, *lines], files) as broker,
        tapped(broker.port) as tap,
        new_field(
            home,
            broker_url=f"mqtt://127.0.0.1:{tap.port}",
            database_url=database.url(),
            jwt_secret=SECRET,
            revocations_file=str(files / "revocations.json"),
            **settings,
        ) as field,
    ):
        field.port = broker.port
        field.tokens |= {("acme", user, "device"): token(user) for user in users}
        yield Site(field, broker, database, tap)


def caught_up(site: Site, messages: Callable[[], Iterable[Told]], patience_s: float = 60.0) -> None:
    """Return when the ingest has acknowledged all of MESSAGES."""
    until(lambda: site.acknowledged(messages()), "the ingest acknowledges everything", patience_s)
