"""`fieldbeat up` on SQLite under load: the rate of stored and acknowledged heartbeats, or with --seconds a soak with memory samples.

python -m benchmarks.embedded_pipe [--messages N] [--users N] [--json]
python -m benchmarks.embedded_pipe --seconds 600 --rate 2000
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from benchmarks.load import Load
from tests.servers import free_port

_PAGE_KIB = 4


class Up:
    """`fieldbeat up` in an empty directory on free ports."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        settings = {
            "EMBEDDED_PORT": self.port, "EMBEDDED_WS_PORT": free_port(), "HTTP_PORT": free_port(), "LOG_LEVEL": "warning",
        }  # fmt: skip
        self.environment = {f"FIELDBEAT_{name}": str(value) for name, value in settings.items()}
        self.environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        self.process = subprocess.Popen(
            self._command("up"), cwd=home, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        if self.process.stdout is None or self.process.stdout.readline() != "ready\n":
            raise SystemExit("`fieldbeat up` did not start")

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", *words]

    def token(self, company: str = "fieldbeat", user: str = "load", role: str = "service") -> str:
        words = self._command("token", "issue", "--company", company, "--user", user, "--role", role)
        return subprocess.run(
            words, cwd=self.home, env=self.environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    def stored(self) -> int:
        with sqlite3.connect(self.home / ".fieldbeat" / "fieldbeat.db") as database:
            return int(database.execute("SELECT count(*) FROM history").fetchone()[0])

    def memory_mib(self) -> float:
        resident = Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]
        return int(resident) * _PAGE_KIB / 1024

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(15)


def flat_out(up: Up, messages: int, users: int) -> dict[str, Any]:
    load = Load(up.port, "load", up.token(), users=users)
    seconds = load.publish(messages)
    return {"messages": messages, "users": users, "rate": round(messages / seconds), "lost": messages - up.stored()}


def soak(up: Up, seconds: int, rate: float, users: int) -> dict[str, Any]:
    """Run for SECONDS at RATE; memory is sampled ten times, the first time after a tenth of it."""
    samples: list[float] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(seconds / 10):
            samples.append(round(up.memory_mib(), 1))

    sampler = threading.Thread(target=sample, name="sampler")
    sampler.start()
    messages = int(seconds * rate) // 100 * 100
    load = Load(up.port, "load", up.token(), users=users)
    took = load.publish(messages, rate)
    ended.set()
    sampler.join()
    return {
        "messages": messages, "rate": round(messages / took), "lost": messages - up.stored(), "memory_mib": samples,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        up = Up(Path(home))
        try:
            if options.seconds is None:
                found = flat_out(up, options.messages, options.users)
            else:
                found = soak(up, options.seconds, options.rate, options.users)
        finally:
            up.stop()
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:12} {value}")


if __name__ == "__main__":
    main()
