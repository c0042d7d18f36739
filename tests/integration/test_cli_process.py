"""The command as a process: what it costs to start, and how it ends when its reader, its terminal or its luck does."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.main import TABLE, main, root
from tests.integration.field import Command, Field, environment, run

FOLLOW = "events", "--company", "acme", "--follow", "--json"


@pytest.fixture
def acme(tmp_path: Path) -> Field:
    made = Field(tmp_path)
    made.tell("alice", 5, device="phone", session="s1")
    return made


@contextmanager
def following(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "cli.main", *FOLLOW]
    with subprocess.Popen(  # noqa: S603 our own command
        command, cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_help_imports_nothing_that_is_slow(tmp_path: Path) -> None:
    program = "import sys\nfrom cli.main import main\nmain(['--help'])\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(  # noqa: S603 our own command
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    slow = {
        "sqlalchemy",
        "sqlmodel",
        "alembic",
        "pydantic",
        "pydantic_settings",
        "rich",
        "jwt",
        "paho",
        "amqtt",
        "msgspec",
    }
    assert not slow & set(done.stderr.split())


def test_help_lists_every_command_by_noun(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for panel, entries in TABLE.items():
        assert f"{panel}:" in listed
        for entry in entries:
            if entry.name != "web":
                assert f"\n  {entry.name.split()[0]} " in listed


@pytest.mark.parametrize("entry", [entry for entries in TABLE.values() for entry in entries], ids=lambda one: one.name)
def test_every_command_has_help_of_its_own(entry: object, capsys: pytest.CaptureFixture[str]) -> None:
    name = getattr(entry, "name", "").split()
    if name[0] not in root().commands:
        pytest.skip("this part is not installed")
    assert main([*name, "--help"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert f"Usage: fieldbeat {' '.join(name)}" in said.out


@pytest.mark.parametrize(
    "arguments", ["wo", "token", "token isue", "who", "who --company", "who --nothing", "db prune"]
)
def test_wrong_use_is_one_line_and_status_2(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = Command(capsys)(*arguments.split())
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith("fieldbeat: ")
    assert "--help" in ended.err


def test_what_nobody_expected_is_one_line_unless_debugging(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_settings: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cli.wiring.ready_engine", fail)
    ended = Command(capsys)("who", "--company", "acme")
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "unexpected ZeroDivisionError: by zero (FIELDBEAT_LOG_LEVEL=debug shows the traceback)" in ended.err
    monkeypatch.setenv("FIELDBEAT_LOG_LEVEL", "debug")
    assert "Traceback" in Command(capsys)("who", "--company", "acme").err


def test_events_are_followed_until_interrupted(acme: Field) -> None:
    with following(acme.place) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert json.loads(running.stdout.readline())["userId"] == "alice"
        acme.tell("bob", 0, device="phone", session="s2")
        assert json.loads(running.stdout.readline())["userId"] == "bob"
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130
        assert (running.stdout.read(), running.stderr.read()) == (b"", b"")


def test_a_reader_who_leaves_ends_the_command_quietly(acme: Field) -> None:
    with following(acme.place) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline()
        running.stdout.close()
        acme.tell("bob", 0, device="phone", session="s2")
        assert running.wait(30) == 141
        assert running.stderr.read() == b""


def test_a_terminal_gets_a_coloured_table_and_is_told_that_nobody_listens(acme: Field) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cli.main", "who", "--company", "acme"]
    settings = environment({"TERM": "xterm-256color", "COLUMNS": "160"})
    with subprocess.Popen(  # noqa: S603 our own command
        command, cwd=acme.place, env=settings, stdout=theirs, stderr=theirs
    ) as running:
        os.close(theirs)
        shown = read_all(ours)
        assert running.wait(30) == 0
    assert "\x1b[32monline" in shown
    assert "alice" in shown
    assert "the service has not been listening yet" in shown


def read_all(terminal: int) -> str:
    """Return what is written to the TERMINAL until its other side is closed, which Linux tells as an error."""
    parts = []
    try:
        while part := os.read(terminal, 4096):
            parts.append(part)
    except OSError:
        pass
    finally:
        os.close(terminal)
    return b"".join(parts).decode()


def test_the_version_is_said(tmp_path: Path) -> None:
    ended = run(tmp_path, "--version")
    assert ended.status == 0
    assert ended.out.startswith("fieldbeat ")
