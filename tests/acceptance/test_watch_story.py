"""`fieldbeat watch` as people see it: on a terminal, and line by line elsewhere."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.field import PATIENCE_S, Field, new_field, until

HERE = {"latitude": 12.9716, "longitude": 77.5946}
OF_ACME = "--company", "acme"
FIELDBEAT = sys.executable, "-m", "cli.main"


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    with new_field(tmp_path_factory.mktemp("watch"), offline_grace="0.2", sweep_interval="0.2") as made:
        made.start("up")
        made.publish("alice", {"session": "a1", "seq": 1, **HERE})
        yield made


@contextmanager
def watching(field: Field, columns: int, name: str = "watch") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command of this NAME on a terminal of so many COLUMNS; yield it and our end of the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*FIELDBEAT, name, *OF_ACME],
        cwd=field.home,
        env=field.environment | {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "30"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait(10)
        os.close(ours)


def test_on_a_terminal_it_draws_and_keeps_up(field: Field) -> None:
    with watching(field, 140) as (process, ours):
        read_until(ours, "alice")
        field.publish("bob", {"session": "b1", "seq": 1, "battery": 80, **HERE})
        read_until(ours, "12.97160, 77.59460")
        read_until(ours, "80 %")
        field.publish("bob", {"type": "offline", "session": "b1"})
        read_until(ours, "offline (connection_lost)")
        process.send_signal(signal.SIGINT)
        read_until(ours, "\x1b[?1049l")
        assert process.wait(10) == 0


@pytest.mark.parametrize("name", ["watch", "who"])
def test_on_a_narrow_terminal_names_and_standing_are_whole(field: Field, name: str) -> None:
    field.publish("dave", {"session": "d1", "seq": 1, "battery": 80, **HERE})
    field.publish("dave", {"projectId": "a-project-with-a-long-name", "taskId": "t9"}, "activity")
    field.publish("dave", {"message": "Back after lunch, call the office until then"}, "status")
    field.publish("dave", {"type": "offline", "session": "d1"})
    until(lambda: field.who()["dave"]["reason"] == "connection_lost", "dave is lost")
    with watching(field, 80, name) as (_, ours):
        read_until(ours, "offline (connection_lost)")


def test_what_who_leaves_out_on_a_narrow_terminal_is_named(field: Field) -> None:
    field.publish("erin", {"session": "e1", "seq": 1, "battery": 80, **HERE})
    field.publish("erin", {"projectId": "a-project-with-a-long-name", "taskId": "t9"}, "activity")
    field.publish("erin", {"type": "offline", "session": "e1"})
    until(lambda: field.who()["erin"]["reason"] == "connection_lost", "erin is lost")
    with watching(field, 60, "who") as (_, ours):
        shown = read_until(ours, "left out, as the terminal is narrow: position, activity, message, devices")
        assert "a-project" not in shown
    with watching(field, 200, "who") as (_, ours):
        read_until(ours, "a-project-with-a-long-name")


def read_until(terminal: int, text: str) -> str:
    """Return what came to the TERMINAL once TEXT has."""
    seen = ""
    give_up = time.monotonic() + PATIENCE_S
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, give_up - time.monotonic()))
        assert ready, f"{text!r} did not come: {seen[-2000:]}"
        seen += os.read(terminal, 65536).decode(errors="replace")
    return seen


def test_elsewhere_it_prints_each_state_on_a_line(field: Field, tmp_path: Path) -> None:
    log = tmp_path / "watch.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*FIELDBEAT, "watch", *OF_ACME, "--json"], cwd=field.home, env=field.environment, stdout=out
        )
    try:
        until(lambda: '"alice"' in log.read_text("utf-8"), "alice is told of")
        field.publish("carol", {"session": "c1", "seq": 1})
        until(lambda: '"carol"' in log.read_text("utf-8"), "carol is told of")
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)
    states = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert {state["companyId"] for state in states} == {"acme"}


def test_it_does_not_draw_into_a_pipe(field: Field) -> None:
    done = field.run("watch", "--company", "acme")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--json" in done.stderr
