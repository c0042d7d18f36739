"""`fieldbeat db` and `fieldbeat doctor`: what is wrong is found, named, and told by the exit status."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cli import wiring
from cli.settings import Settings
from ingest.database import REVISION
from tests.integration.field import DATABASE, Command, Field

FILE = Path(".fieldbeat", DATABASE)


@pytest.fixture
def fieldbeat(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(capsys)


@pytest.fixture
def acme(tmp_path: Path) -> Field:
    made = Field(tmp_path)
    made.tell("alice", 5, device="phone", session="s1", seq=1, latitude=1, longitude=2, projectId="p")
    return made


def write(statement: str) -> None:
    connection = sqlite3.connect(FILE)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_an_empty_database_is_upgraded_by_whichever_command_comes_first(fieldbeat: Command) -> None:
    assert fieldbeat("db", "check").err == "fieldbeat: the database is empty: run `fieldbeat db upgrade`\n"
    assert fieldbeat("db", "upgrade") == (0, f"the schema went from nothing to {REVISION}\n", "")
    assert fieldbeat("db", "upgrade") == (0, f"the schema is {REVISION} already\n", "")
    assert fieldbeat("db", "check").status == 0


def test_a_schema_from_the_future_is_left_alone(fieldbeat: Command, acme: Field) -> None:
    acme.engine.dispose()
    write("UPDATE alembic_version SET version_num = '9999'")
    ended = fieldbeat("who", "--company", "acme")
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "the database's schema is at 9999, newer than this version's" in ended.err
    assert fieldbeat("db", "check").status == 1


def test_a_sound_database_checks_out(fieldbeat: Command, acme: Field) -> None:
    ended = fieldbeat("db", "check", "--json")
    assert (ended.status, ended.err) == (0, "")
    assert all(one["holds"] for one in ended.json)
    assert acme.now


def test_orphans_are_counted(fieldbeat: Command, acme: Field) -> None:
    acme.engine.dispose()
    write("DELETE FROM device_session")
    ended = fieldbeat("db", "check", "--json")
    assert ended.status == 1
    assert [(one["check"], one["found"]) for one in ended.json if not one["holds"]] == [
        ("history without a session", "1")
    ]


def test_a_file_that_is_no_database_is_one_line(fieldbeat: Command) -> None:
    FILE.parent.mkdir()
    FILE.write_bytes(b"no database at all, but a rather long text " * 50)
    for command in ("db check", "who --company acme"):
        ended = fieldbeat(*command.split())
        assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
        assert "file is not a database" in ended.err


def test_pruning_says_what_it_would_do_before_it_does_it(fieldbeat: Command, acme: Field) -> None:
    acme.tell("bob", 100 * 86_400, device="phone", session="s2", seq=1)
    plan = fieldbeat("db", "prune", "--older-than", "90d", "--dry-run", "--json").json
    assert (plan["dryRun"], plan["rows"]["history"]) == (True, 1)
    done = fieldbeat("db", "prune", "--older-than", "90d", "--json").json
    assert (done["dryRun"], done["rows"]) == (False, plan["rows"])
    assert fieldbeat("db", "prune", "--older-than", "90d", "--json").json["rows"]["history"] == 0


@pytest.mark.parametrize("age", ["90", "0d", "forever"])
def test_pruning_wants_a_time(age: str, fieldbeat: Command) -> None:
    ended = fieldbeat("db", "prune", "--older-than", age)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("fieldbeat: --older-than: ")


def test_the_doctor_finds_everything_well_where_all_is_well(
    fieldbeat: Command, acme: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.store.listen(acme.now)
    broker = wiring.embedded_broker(Settings(embedded_port=0, embedded_ws_port=0), lambda _claims: False)
    broker.start()
    try:
        host, port = broker.addresses.tcp
        monkeypatch.setenv("FIELDBEAT_BROKER_URL", f"mqtt://{host}:{port}")
        ended = fieldbeat("doctor", "--json")
    finally:
        broker.stop()
    assert {one["what"]: one["verdict"] for one in ended.json} == dict.fromkeys(
        ("settings", "data directory", "keys", "database", "clock", "listening", "queue", "broker"), "ok"
    ) | {"queue": "ok"}
    assert ended.status == 0


def test_the_doctor_says_what_to_do(fieldbeat: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.commands.doctor.probe", lambda *_: "Connection refused")
    Path(".fieldbeat").mkdir(mode=0o755)
    ended = fieldbeat("doctor", "--json")
    found = {one["what"]: one for one in ended.json}
    assert ended.status == 1
    assert found["broker"]["verdict"] == "fails"
    assert "fieldbeat up" in found["broker"]["advice"]
    assert found["listening"]["found"] == "nobody has ever listened"
    assert (found["data directory"]["verdict"], found["data directory"]["advice"]) == (
        "warning",
        "chmod go= .fieldbeat",
    )
    table = fieldbeat("doctor").out
    assert "fails" in table
    assert "Connection refused" in table


def test_the_doctor_finds_events_that_nobody_took(
    fieldbeat: Command, acme: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.commands.doctor.probe", lambda *_: None)
    acme.tell("bob", 3600, device="phone", session="s2")
    found = {one["what"]: one for one in fieldbeat("doctor", "--json").json}
    assert found["queue"]["verdict"] == "fails"


def test_the_doctor_survives_a_database_that_is_out_of_reach(
    fieldbeat: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.commands.doctor.probe", lambda *_: None)
    Path("a-directory").mkdir()
    monkeypatch.setenv("FIELDBEAT_DATABASE_URL", "sqlite:///a-directory")
    ended = fieldbeat("doctor", "--json")
    assert ended.status == 1
    assert {one["what"]: one["verdict"] for one in ended.json}["database"] == "fails"
