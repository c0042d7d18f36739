"""PostgreSQL's bad days: each pauses the acknowledgements, says why, and is over by itself with nothing lost or twice."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from ingest.database import open_engine, upgrade
from ingest.dialect import Dialect
from models.errors import StoreFailed, StoreRefused
from tests.integration.pipe_lab import Pipe, wait_until
from tests.integration.store_lab import SESSIONS, count
from tests.servers import PostgreSql, postgresql

SLOTS = 12
"""How many connections the server allows."""
SENT = 400


@dataclass(slots=True)
class Day:
    """A server, a pipe that writes to it, and an administrator's connection beside it."""

    server: PostgreSql
    pipe: Pipe
    admin: psycopg.Connection[tuple[object, ...]]

    def sql(self, statement: str) -> None:
        self.admin.execute(statement.encode())

    def set(self, setting: str) -> None:
        """Change a setting for everybody, at once."""
        self.sql(f"ALTER SYSTEM SET {setting}")
        self.sql("SELECT pg_reload_conf()")

    def reset(self, setting: str) -> None:
        self.sql(f"ALTER SYSTEM RESET {setting}")
        self.sql("SELECT pg_reload_conf()")

    def hang_up(self) -> None:
        """End the connections of everybody else."""
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )


BadDay = Callable[[Day], AbstractContextManager[None]]


def _connect(server: PostgreSql) -> psycopg.Connection[tuple[object, ...]]:
    # Whatever the day, the administrator may write.
    options = "-c default_transaction_read_only=off -c statement_timeout=0"
    return psycopg.connect(
        f"host={server.directory} port={server.port} user=postgres", autocommit=True, options=options
    )


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql([f"max_connections = {SLOTS}", "superuser_reserved_connections = 0"]) as server:
        yield server


@pytest.fixture
def day(server: PostgreSql) -> Iterator[Day]:
    with ExitStack() as stack:
        with _connect(server) as admin:
            admin.execute("DROP DATABASE IF EXISTS fieldbeat")
            admin.execute("CREATE DATABASE fieldbeat")
        engine = open_engine(server.url("fieldbeat"))
        stack.callback(engine.dispose)
        upgrade(engine)
        day = Day(server, Pipe(engine), _connect(server))
        stack.callback(day.admin.close)
        yield day


@contextmanager
def _stopped(day: Day) -> Iterator[None]:
    day.server.stop()
    yield
    day.server.start()


@contextmanager
def _killed(day: Day) -> Iterator[None]:
    day.server.kill()
    yield
    day.server.start()


@contextmanager
def _read_only(day: Day) -> Iterator[None]:
    day.set("default_transaction_read_only = on")
    yield
    day.reset("default_transaction_read_only")


@contextmanager
def _no_connections_left(day: Day) -> Iterator[None]:
    with ExitStack() as stack:
        held = 1  # the administrator's
        while held < SLOTS:
            try:
                stack.enter_context(_connect(day.server))
                held += 1
            except psycopg.OperationalError:
                # Its connections end; then it is a race for each of them, until all are ours.
                day.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'fieldbeat' AND backend_type = 'client backend'"
                )
        yield


_BAD_DAYS: dict[str, tuple[BadDay, str]] = {
    "stopped": (_stopped, "onnection"),
    "killed": (_killed, "onnection"),
    "read-only": (_read_only, "read-only transaction"),
    "full of connections": (_no_connections_left, "too many clients"),
}


def _send(pipe: Pipe, first: int) -> None:
    for number in range(first, first + SENT):
        pipe.send(f"u{number % 7}", session=SESSIONS[0], seq=number, latitude=1.0, longitude=2.0)


@pytest.mark.parametrize("name", _BAD_DAYS)
def test_a_bad_day_pauses_the_acknowledgements_and_is_over_by_itself(
    day: Day, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, reason = _BAD_DAYS[name]
    pipe = day.pipe
    with caplog.at_level(logging.INFO), pipe.running():
        _send(pipe, 0)
        wait_until(lambda: pipe.link.is_empty)
        with bad(day):
            _send(pipe, SENT)
            wait_until(lambda: pipe.metrics.gauges().get("store_failing") == 1)
            assert pipe.link.unacked > 0
        wait_until(lambda: pipe.link.is_empty)
    assert count(pipe.engine, "history") == 2 * SENT
    told = [record for record in caplog.records if record.__dict__.get("action") == "store_failed"]
    assert any(reason in record.getMessage() for record in told)
    assert not any("\n" in record.getMessage() for record in told)
    assert "store_failed_over" in [record.__dict__.get("action") for record in caplog.records]


def test_connections_that_are_ended_again_and_again_lose_nothing(day: Day) -> None:
    with day.pipe.running():
        for number in range(10):
            _send(day.pipe, number * SENT)
            day.hang_up()
        wait_until(lambda: day.pipe.link.is_empty)
    assert count(day.pipe.engine, "history") == 10 * SENT


def _blocked(day: Day) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'fieldbeat'"
    row = day.admin.execute(waiting).fetchone()
    assert row is not None
    return row[0] != 0


@contextmanager
def _locked(day: Day) -> Iterator[None]:
    """Hold everybody up who writes history, in the middle of their transaction."""
    with psycopg.connect(f"host={day.server.directory} port={day.server.port} user=postgres dbname=fieldbeat") as other:
        other.execute("LOCK TABLE history IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("how", ["terminated", "timed out"])
def test_a_transaction_that_ends_half_way_is_tried_again(day: Day, how: str) -> None:
    pipe = day.pipe
    if how == "timed out":
        day.set("statement_timeout = '500ms'")
    with pipe.running():
        with _locked(day):
            _send(pipe, 0)
            wait_until(lambda: _blocked(day))
            if how == "terminated":
                day.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            wait_until(lambda: pipe.metrics.gauges().get("store_failing") == 1)
            assert pipe.link.unacked > 0
        day.reset("statement_timeout")
        wait_until(lambda: pipe.link.is_empty)
    assert count(pipe.engine, "history") == SENT


@contextmanager
def _small_disk(day: Day, directory: Path) -> Iterator[Callable[[bool], None]]:
    """Put the database on a disk of 48 MB, and yield what fills it and empties it again."""
    day.pipe.engine.dispose()
    assert day.server.user is not None
    shutil.chown(directory, day.server.user)
    day.sql(f"CREATE TABLESPACE small LOCATION '{directory}'")
    day.sql("ALTER DATABASE fieldbeat SET TABLESPACE small")

    def fill(full: bool) -> None:
        ballast = directory / "ballast"
        if not full:
            ballast.unlink()
            return
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return

    try:
        yield fill
    finally:
        day.pipe.engine.dispose()
        day.sql("ALTER DATABASE fieldbeat SET TABLESPACE pg_default")
        day.sql("DROP TABLESPACE small")


@contextmanager
def _mounted(server: PostgreSql) -> Iterator[Path | None]:
    """Mount a small disk; yield None to those who may not."""
    directory = server.directory / "small"
    directory.mkdir()
    done = server.user is not None and _is_done(["mount", "-t", "tmpfs", "-o", "size=48m", "small", directory])
    try:
        yield directory if done else None
    finally:
        if done:
            _is_done(["umount", "-l", directory])
        directory.rmdir()


def _is_done(command: list[str | Path]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603 a command of this test


def test_a_full_disk_pauses_the_acknowledgements_until_there_is_room(
    day: Day, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = day.pipe
    with _mounted(day.server) as directory, ExitStack() as stack:
        fill = _pretend(pipe.engine) if directory is None else stack.enter_context(_small_disk(day, directory))
        with caplog.at_level(logging.ERROR), pipe.running():
            _send(pipe, 0)
            wait_until(lambda: pipe.link.is_empty)
            fill(True)
            sent = SENT
            while pipe.metrics.gauges().get("store_failing") != 1:
                assert sent < 100 * SENT
                _send(pipe, sent)
                sent += SENT
                wait_until(lambda: pipe.link.is_empty or pipe.metrics.gauges().get("store_failing") == 1)
            assert pipe.link.unacked > 0
            fill(False)
            wait_until(lambda: pipe.link.is_empty)
        assert count(pipe.engine, "history") == sent
        assert count(pipe.engine, "rejected") == 0
        assert any("No space left on device" in record.getMessage() for record in caplog.records)


def _raise_on_history(engine: Engine, code: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '{code}'; END $$"
        )
        connection.exec_driver_sql(
            "CREATE OR REPLACE TRIGGER complain BEFORE INSERT ON history FOR EACH STATEMENT EXECUTE FUNCTION complain()"
        )


def _pretend(engine: Engine) -> Callable[[bool], None]:
    """Let the database say that its disk is full, for those who may not mount one that is."""

    def fill(full: bool) -> None:
        if full:
            _raise_on_history(engine, "53100")
        else:
            with engine.begin() as connection:
                connection.exec_driver_sql("DROP TRIGGER complain ON history")

    return fill


_TO_TRY_AGAIN = {
    "53100": "disk full", "53200": "out of memory", "53300": "too many connections", "53400": "a limit", "25006": "read-only",
    "57P01": "admin shutdown", "57P02": "crash shutdown", "57P03": "cannot connect now", "57014": "cancelled",
    "40001": "serialization failure", "40P01": "deadlock", "55P03": "lock not available", "25P03": "idle in transaction",
    "58030": "input/output error", "XX000": "internal error",
}  # fmt: skip
_TO_PART_WITH = {"22003": "out of range", "22P05": "untranslatable", "23502": "null", "23514": "check"}


@pytest.fixture(scope="module")
def engine_that_complains(server: PostgreSql) -> Iterator[Engine]:
    with _connect(server) as admin:
        admin.execute("CREATE DATABASE complains")
    engine = open_engine(server.url("complains"))
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("code", "error"), [(c, StoreFailed) for c in _TO_TRY_AGAIN] + [(c, StoreRefused) for c in _TO_PART_WITH]
)
def test_what_passes_is_tried_again_and_what_does_not_is_refused(
    engine_that_complains: Engine, code: str, error: type[Exception]
) -> None:
    with pytest.raises(error), Dialect(engine_that_complains).writing() as connection:
        connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'so' USING ERRCODE = '{code}'; END $$")
