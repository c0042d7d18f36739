"""`fieldbeat --help` is quick, because it imports no part of the service."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"alembic", "amqtt", "asyncio", "broker", "ingest", "jwt", "msgspec", "paho", "pydantic", "sqlalchemy", "web"}
_LIST_MODULES = """
import atexit, json, sys
atexit.register(lambda: sys.stderr.write(json.dumps(sorted({name.partition(".")[0] for name in sys.modules}))))
from cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_the_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    assert HEAVY & set(json.loads(done.stderr)) == set()
