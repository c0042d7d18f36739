"""How long `fieldbeat --help` takes, against what Python needs to import Typer alone."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import machine

WANTED_RATIO = 2.5
HELP = [str(Path(sys.executable).with_name("fieldbeat")), "--help"]
IMPORT = [sys.executable, "-c", "import typer"]


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=15, help="how often, in turns; the medians count")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    chosen = parser.parse_args()
    turns = [(seconds(HELP), seconds(IMPORT)) for _ in range(chosen.passes)]
    help_s, import_s = (sorted(column)[chosen.passes // 2] for column in zip(*turns, strict=True))
    if chosen.json:
        figures = {
            "help_ms": round(help_s * 1e3),
            "import_ms": round(import_s * 1e3),
            "ratio": round(help_s / import_s, 2),
        }
        print(json.dumps({"machine": machine(), "wanted_ratio": WANTED_RATIO, **figures}))
        return
    print(machine())
    print(f"fieldbeat --help         {help_s * 1e3:>5.0f} ms")
    print(f'python -c "import typer" {import_s * 1e3:>5.0f} ms')
    print(f"ratio                    {help_s / import_s:>5.2f} of at most {WANTED_RATIO}")


if __name__ == "__main__":
    main()
