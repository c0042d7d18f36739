"""The rules of the house that can be read off the sources."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from models.geojson import PAUSE
from tests.house.sources import PACKAGES, ROOT, files, imported, modules, parsed

ALL = modules(*PACKAGES, "tests", "benchmarks")
_EVERYWHERE = re.compile(r"utils?|helpers?|common|manager|base")
_ELSEWHERE = re.compile(
    rb"pypi\.(?:org|python)|pythonhosted|registry\.npmjs|/home/[a-z]|(?<![\w.])/(?:root|work)/", re.IGNORECASE
)
_TEXTS = {".py", ".md", ".toml", ".txt", ".conf", ".c", ".h", ".yaml", ".yml", ".json", ".service", ".js", ".html", ""}
_OURS_ALONE = {
    "jwt": ("broker/tokens.py",),
    "paho": ("broker/buffered_paho.py", "broker/mqtt_link.py", "broker/mosquitto/check.py", "cli/fleet/"),
    "amqtt": ("broker/embedded/",),
    "nats": ("broker/nats_link.py", "broker/nats/"),
    "cffi": ("broker/mosquitto/",),
    "cryptography": ("broker/mosquitto/", "broker/nats/"),
    "schedule": ("ingest/jobs.py",),
    "fastapi": ("web/",),
    "typer": ("cli/",),
    "rich": ("cli/output.py",),
    "pydantic": ("cli/settings.py", "web/cursors.py"),
    "pydantic_settings": ("cli/settings.py",),
    "gpxpy": ("cli/fleet/recording.py",),
}


@pytest.mark.parametrize("path", ALL, ids=str)
def test_a_module_opens_with_one_sentence(path: Path) -> None:
    docstring = ast.get_docstring(parsed(path))
    assert docstring, "says nothing"
    opening = docstring.partition("\n\n")[0]
    assert opening.rstrip("`\"'”)").endswith((".", "?", "!", ":")), f"is no sentence: {opening}"


def test_files_are_named_by_nouns_of_the_field() -> None:
    assert [path for path in ALL if _EVERYWHERE.fullmatch(path.stem)] == []


def test_only_the_settings_read_the_environment() -> None:
    readers = [path for path in modules(*PACKAGES) if _reads_environment(parsed(path))]
    assert readers == [Path("cli/settings.py")]


def _reads_environment(tree: ast.Module) -> bool:
    names = {"environ", "environb", "getenv", "getenvb"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and names & {alias.name for alias in node.names})
        for node in ast.walk(tree)
    )


def test_only_the_output_prints() -> None:
    printers = [
        path
        for path in modules(*PACKAGES)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printers == []


@pytest.mark.parametrize(("library", "places"), _OURS_ALONE.items(), ids=_OURS_ALONE)
def test_a_library_is_imported_where_it_belongs(library: str, places: tuple[str, ...]) -> None:
    strangers = [
        path
        for path in modules(*PACKAGES)
        if library in imported(parsed(path)) and not path.as_posix().startswith(places)
    ]
    assert strangers == []


def test_the_layers_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_names_a_registry_or_the_machine_it_was_written_on() -> None:
    here = Path(__file__).relative_to(ROOT)
    named = {
        str(path): found[0].decode()
        for path in files()
        if path.suffix in _TEXTS and path != here and (found := _ELSEWHERE.search((ROOT / path).read_bytes()))
    }
    assert named == {}


def test_the_page_and_the_read_api_mean_the_same_pause() -> None:
    found = re.search(r"PAUSE_MS = (\d+) \* 60_000;", (ROOT / "web/static/map.js").read_text("utf-8"))
    assert found is not None
    assert timedelta(minutes=int(found[1])) == PAUSE


@pytest.mark.parametrize("path", ["LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "constraints.txt", ".ci/run"])
def test_a_visitor_finds(path: str) -> None:
    assert (ROOT / path).stat().st_size > 0
