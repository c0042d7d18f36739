"""AsyncAPI's own parser finds nothing wrong with the document in the docs."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.asyncapi_document import FILE
from tests.servers import absent, program

WEB = Path(__file__).parents[2] / "web"


def test_the_official_parser_accepts_the_document() -> None:
    node = program("node")
    if not (WEB / "node_modules" / "@asyncapi" / "parser").exists():
        absent("@asyncapi/parser (make web)")
    with FILE.open("rb") as document:
        command = [node, "asyncapi-check.mjs"]
        done = subprocess.run(command, cwd=WEB, stdin=document, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 our own script
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
