"""README, tutorial and how-to guides say what is true: their examples run, their links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.documents import MAIN, PATIENCE_S, Reader, blocks, missing, reader
from tests.house.sources import ROOT, files
from tests.servers import free_port, program

MARKDOWN = [path for path in files() if path.suffix == ".md"]
GUIDES = sorted(path.name for path in (ROOT / "docs/how-to").glob("*.md") if path.name != "production.md")
"""The guides for a laptop; production.md installs packages and services, and is tried on machines of its own."""

_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
_README_LINES, _RUNS_BY = 90, 12


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Reader]:
    """Have a reader with Fieldbeat installed, whose default ports are free ones and whose grace is short."""
    program("mosquitto_pub")
    ports = {name: str(free_port()) for name in ("EMBEDDED_PORT", "EMBEDDED_WS_PORT", "HTTP_PORT")}
    settings = ports | {
        "BROKER_URL": f"mqtt://127.0.0.1:{ports['EMBEDDED_PORT']}",
        "OFFLINE_GRACE": "1",
        "SWEEP_INTERVAL": "0.2",
    }
    for client in ("mosquitto_pub", "mosquitto_sub"):
        (tmp_path / client).write_text(f"-p {ports['EMBEDDED_PORT']}\n")  # their defaults [mosquitto_pub(1), FILES]
    (tmp_path / ".venv").symlink_to(sys.prefix)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FIELDBEAT_")}
    path = f"{Path(sys.executable).parent}:{clean['PATH']}"
    given = {f"FIELDBEAT_{name}": value for name, value in settings.items()}
    with reader(tmp_path, clean | given | {"XDG_CONFIG_HOME": str(tmp_path), "PATH": path}) as made:
        yield made


def test_the_tutorial_works_as_written(visitor: Reader) -> None:
    visitor.follow((ROOT / "docs/tutorial.md").read_text("utf-8"))


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_works_as_written(visitor: Reader, name: str) -> None:
    visitor.follow("```sh service\nfieldbeat up\n```\n```text service\nready\n```\n")
    visitor.follow((ROOT / "docs/how-to" / name).read_text("utf-8"))


def test_the_readme_runs_a_fleet_and_shows_it(visitor: Reader) -> None:
    examples = [line for block in blocks(_readme()) if block.language == "sh" for line in block.text.splitlines()]
    [run] = [line for line in examples if " up " in line]
    [look] = [line for line in examples if " who " in line]
    visitor.terminal("service").type(run + "\n")
    visitor.terminal("service").wait("ready\nfleet … 25 virtual devices")
    give_up = time.monotonic() + PATIENCE_S
    while missing("online", shown := _output(look, visitor)) is not None:
        assert time.monotonic() < give_up, shown
    visitor.terminal(MAIN).run(look)
    visitor.terminal(MAIN).wait("online")


def _output(command: str, visitor: Reader) -> str:
    done = subprocess.run(
        ["bash", "-c", command], cwd=visitor.home, env=visitor.environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def _readme() -> str:
    return (ROOT / "README.md").read_text("utf-8")


def test_the_readme_is_short_and_runs_early() -> None:
    lines = _readme().splitlines()
    assert len(lines) < _README_LINES
    assert lines.index("make run") < _RUNS_BY


@pytest.mark.parametrize("path", MARKDOWN, ids=str)
def test_links_lead_somewhere(path: Path) -> None:
    text = (ROOT / path).read_text("utf-8")
    assert [target for target in _LINK.findall(text) if not (ROOT / path).parent.joinpath(target).exists()] == []


def test_every_page_is_linked_from_the_readme() -> None:
    pages = {path.as_posix() for path in MARKDOWN if path.parts[0] == "docs" and path.parts[1] != "decisions"}
    assert pages - set(_LINK.findall(_readme())) == set()


def test_decisions_are_numbered_and_short() -> None:
    notes = [path for path in MARKDOWN if path.parts[:2] == ("docs", "decisions")]
    numbers = [path.name[:4] for path in notes]
    assert all(number.isdecimal() for number in numbers)
    assert len(set(numbers)) == len(numbers)
    assert [path for path in notes if len((ROOT / path).read_text("utf-8").splitlines()) > 40] == []
