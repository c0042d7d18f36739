"""mq-bridge, an ETL engine with a Rust core, from MQTT to PostgreSQL without loss. It lives in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from enum import Enum
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.servers import PostgreSql

VERSION = "1.2.0"
TABLE = "heartbeat"
CONCURRENCIES = (1, 2)
"""Which is quicker depends on the machine, so both are tried and the better one counts."""
RUN = "import json, os, mq_bridge; mq_bridge.Route.from_config(json.loads(os.environ['ROUTE'])).run()"
_NUMBERS = ("latitude", "longitude", "accuracy", "speed", "heading", "battery")
_COLUMNS = ("device", "session", "seq", "at", *_NUMBERS)


class Times(Enum):
    """How the time of a heartbeat is kept."""

    TYPED = "timestamptz"
    """As in our history: a time can be compared with another, whatever zone it was told in."""
    TEXT = "text"
    """As it came, which costs the bridge less."""


class NotInstalled(Exception):
    """It cannot be had here."""


def interpreter() -> Path:
    """Return a Python that has it, installed into the user's cache by whoever asks first; raise `NotInstalled`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    home = cache / "fieldbeat-benchmarks" / f"mq-bridge-{VERSION}"
    python = home / "bin" / "python"
    if _has_it(python):
        return python
    for command in (
        (sys.executable, "-m", "venv", home),
        (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"mq-bridge=={VERSION}"),
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
            raise NotInstalled(f"mq-bridge {VERSION} cannot be installed: {last}")
    if not _has_it(python):
        raise NotInstalled(f"mq-bridge {VERSION} is installed, and cannot be imported")
    return python


def _has_it(python: Path) -> bool:
    if not python.exists():
        return False
    return subprocess.run([python, "-c", "import mq_bridge"], capture_output=True, check=False).returncode == 0


def create_table(server: PostgreSql, times: Times) -> None:
    """Make the table that its rows go to: the fields of a heartbeat, each heartbeat once."""
    numbers = ", ".join(f"{name} double precision" for name in _NUMBERS)
    engine = create_engine(server.url())
    with engine.begin() as connection:
        connection.execute(
            text(
                f"CREATE TABLE {TABLE} (device text NOT NULL, session text NOT NULL, seq bigint NOT NULL,"
                f" at {times.value} NOT NULL, {numbers}, PRIMARY KEY (session, seq))"
            )
        )
    engine.dispose()


def route(port: int, token: str, pattern: str, server: PostgreSql, times: Times, concurrency: int) -> str:
    """Return the route as JSON: acknowledged after the commit, rows in sets of 2,000, repetitions dropped."""
    source = {
        "url": f"tcp://127.0.0.1:{port}", "topic": pattern, "username": "bridge", "password": token,
        "client_id": "fieldbeat:bridge", "qos": 1, "clean_session": False, "session_expiry_interval": 3600,
        "delayed_ack": False, "queue_capacity": 10_000, "max_inflight": 10_000,
    }  # fmt: skip
    sink = {"url": f"postgres://postgres@localhost/postgres?host={server.directory}&port={server.port}", "table": TABLE}
    delivery = {"batch_size": 2_000, "concurrency": concurrency, "required_delivery": "at_least_once"}
    return json.dumps({"input": {"mqtt": source}, "output": {"sqlx": {**sink, **_written(times)}}, **delivery})


def _written(times: Times) -> dict[str, str]:
    """Return how a row is written, as quickly as can be.

    By the types of the columns, or, where none differs from the JSON's, by a query whose values are bare placeholders: with an
    expression among them, such as a cast to a time, it would insert row by row.
    """
    if times is Times.TYPED:
        return {"columns": "auto", "key": "session,seq"}
    values = ", ".join(f"${{payload:{name}}}" for name in _COLUMNS)
    return {
        "insert_query": f"INSERT INTO {TABLE} ({', '.join(_COLUMNS)}) VALUES ({values}) ON CONFLICT DO NOTHING"  # noqa: S608 our own names
    }
