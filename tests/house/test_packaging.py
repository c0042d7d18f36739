"""What is installed is what was written: the wheel is whole, and every dependency is pinned."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.house.sources import PACKAGES, ROOT, files

_NAME = re.compile(r"[A-Za-z0-9._-]+")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names of the files in the wheel."""
    target = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--no-cache-dir", "--quiet", "--wheel-dir", str(target))
    command = [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_carries_every_file_of_the_packages(shipped: set[str]) -> None:
    written = {path.as_posix() for path in files() if path.parts[0] in PACKAGES}
    assert written - shipped == set()
    assert any(name.startswith("models/migrations/versions/") for name in shipped)


def test_the_wheel_carries_nothing_else(shipped: set[str]) -> None:
    assert {name.partition("/")[0] for name in shipped if ".dist-info/" not in name} <= set(PACKAGES)


def test_every_dependency_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {_normal(line.partition("==")[0]) for line in lines if "==" in line}
    assert len(pinned) == len(lines), "constraints.txt holds something else than name==version"
    wanted = {_normal(found[0]) for line in _dependencies() if (found := _NAME.match(line))}
    assert wanted - pinned - {"fieldbeat"} == set(), "run `make constraints`"


def _dependencies() -> list[str]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_make_does_what_the_readme_says_without_make() -> None:
    readme = (ROOT / "README.md").read_text()
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # `make test` runs this
    planned = subprocess.run(
        ["make", "--dry-run", "--always-make", "run", "test"],
        cwd=ROOT,
        env=alone,
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line for line in planned.stdout.splitlines() if not line.startswith("touch ")]
    assert said[-1] == ".venv/bin/pytest"
    assert [line for line in said if line not in readme] == []


def test_make_has_the_words_of_the_house() -> None:
    makefile = Path(ROOT, "Makefile").read_text()
    assert re.findall(r"^(\w+):", makefile, re.MULTILINE)[:1] == ["setup"]
    assert {"setup", "run", "test", "check", "bench", "docs"} <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
