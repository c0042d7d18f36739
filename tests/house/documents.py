"""Documents whose examples are run as a reader would: each shell block in its terminal, each text block as what must show there.

A block's second word names its terminal (```` ```sh dashboard ````); the others belong to the first one. A command in the first
terminal is waited for; what runs in another one stays. In a text block `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PATIENCE_S = 30.0
MAIN = ""
_BLOCK = re.compile(r"^```(\w*) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a document: its language, its terminal, its lines."""

    language: str
    terminal: str
    text: str


def blocks(document: str) -> list[Block]:
    """Return the fenced blocks of DOCUMENT."""
    return [Block(*found) for found in _BLOCK.findall(document)]


def pattern(line: str) -> re.Pattern[str]:
    """Return what a LINE of a text block stands for."""
    words = (r"\s+".join(re.escape(word) for word in part.split(" ") if word) for part in line.split("…"))
    return re.compile(r"\s*.*?\s*".join(words))


def missing(expected: str, shown: str) -> str | None:
    """Return the first line of EXPECTED that SHOWN has not, in this order; None if it has all."""
    lines = iter(shown.splitlines())
    for line in filter(None, expected.splitlines()):
        wanted = pattern(line)
        if not any(wanted.search(one) for one in lines):
            return line
    return None


@dataclass(slots=True)
class Terminal:
    """A shell that somebody types into, and all that it has shown."""

    process: subprocess.Popen[bytes]
    log: Path
    seen: int = 0
    commands: int = 0

    @property
    def shown(self) -> str:
        """What was shown since the last command of which the end was waited for began."""
        return self.log.read_text("utf-8", "replace")[self.seen :]

    def type(self, commands: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(commands.encode())
        self.process.stdin.flush()

    def run(self, commands: str) -> None:
        """Type COMMANDS and return when they are done; fail when one of them does."""
        self.seen = len(self.log.read_text("utf-8", "replace"))
        self.commands += 1
        mark = f"-- {self.commands} done --"
        self.type(f"set -e\n{commands}\nset +e; echo '{mark}'\n")
        self.wait(mark)

    def wait(self, expected: str) -> None:
        """Return when the terminal shows EXPECTED."""
        give_up = time.monotonic() + PATIENCE_S
        while (line := missing(expected, self.shown)) is not None:
            assert self.process.poll() is None, f"the shell ended before {line!r}:\n{self.shown}"
            assert time.monotonic() < give_up, f"does not show {line!r}:\n{self.shown}"
            time.sleep(0.02)


@dataclass(slots=True)
class Reader:
    """Somebody who follows a document in a directory of their own."""

    home: Path
    environment: dict[str, str]
    terminals: dict[str, Terminal]

    def terminal(self, name: str) -> Terminal:
        if name not in self.terminals:
            log = self.home / f"{name or 'first'}.terminal"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    ["bash"],
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=out,
                    cwd=self.home,
                    env=self.environment,
                    start_new_session=True,
                )
            self.terminals[name] = Terminal(process, log)
        return self.terminals[name]

    def follow(self, document: str) -> None:
        """Do what DOCUMENT says, and see what it shows."""
        for block in blocks(document):
            match block.language:
                case "sh" if block.terminal == MAIN:
                    self.terminal(MAIN).run(block.text)
                case "sh":
                    self.terminal(block.terminal).type(block.text)
                case "text":
                    self.terminal(block.terminal).wait(block.text)

    def leave(self) -> None:
        """Close all terminals, and end what runs in them."""
        for terminal in reversed(self.terminals.values()):
            os.killpg(terminal.process.pid, signal.SIGTERM)
            if terminal.process.stdin is not None:
                terminal.process.stdin.close()
            terminal.process.wait(PATIENCE_S)


@contextmanager
def reader(home: Path, environment: dict[str, str]) -> Iterator[Reader]:
    """Have a reader in the directory HOME, whose shells have ENVIRONMENT; all that they started ends with the block."""
    made = Reader(home, environment, {})
    try:
        yield made
    finally:
        made.leave()
