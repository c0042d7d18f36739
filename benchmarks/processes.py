"""What processes cost: CPU seconds and memory of each with all its children, read from /proc."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_SAMPLE_EVERY_S = 1.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_TIMES = slice(11, 15)
"""utime, stime, cutime and cstime among the fields after the command's name [proc(5)]."""


def tree(pid: int) -> list[int]:
    """Return PID and all its descendants that live now."""
    found = [pid]
    if pid == os.getpid():  # the servers are our children
        return found
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(child) for child in task.read_text("ascii").split()]
    return found


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of PID and its descendants, those included that have ended and been waited for."""
    ticks = 0
    for each in tree(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text("utf-8").rpartition(")")[2].split()
            ticks += sum(int(value) for value in fields[_TIMES])
    return ticks / _TICKS_PER_S


def memory_mib(pid: int) -> float:
    """Return the memory of PID and its descendants, what they share counted once (the proportional set size)."""
    kib = 0
    for each in tree(pid):
        with suppress(OSError):
            lines = Path(f"/proc/{each}/smaps_rollup").read_text("ascii").splitlines()
            kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


@dataclass(slots=True)
class Costs:
    """CPU seconds and peak memory by the name of the process."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_mib: dict[str, float] = field(default_factory=dict)


@contextmanager
def watched(pids: Mapping[str, int]) -> Iterator[Costs]:
    """Measure the processes PIDS until the end of the block; the costs are filled in then."""
    costs, ended = Costs(peak_mib=dict.fromkeys(pids, 0.0)), threading.Event()

    def sample() -> None:
        while True:
            for name, pid in pids.items():
                costs.peak_mib[name] = max(costs.peak_mib[name], round(memory_mib(pid), 1))
            if ended.wait(_SAMPLE_EVERY_S):
                return

    sampler = threading.Thread(target=sample, name="memory sampler")
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    sampler.start()
    try:
        yield costs
    finally:
        ended.set()
        sampler.join()
        costs.cpu_s = {name: round(cpu_s(pid) - before[name], 2) for name, pid in pids.items()}
