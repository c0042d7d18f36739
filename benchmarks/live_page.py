"""The live map with 10,000 people at a heartbeat a minute: frames, memory and CPU of the page in Chromium, over five minutes.

python -m benchmarks.live_page [--people N] [--seconds N] [--json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.embedded_pipe import Up
from benchmarks.load import CONNECT, DISCONNECT, PUBLISH_QOS1, packet, string
from benchmarks.machine import machine
from benchmarks.processes import cpu_s, memory_mib
from tests.servers import program

COMPANY = "crowd"
SAMPLES = 10
PERIOD_S = 60.0
_DRAG_S = 10.0
_AT_ONCE = 100
_PUBACK_BYTES = 4
_TOWN = 12.9716, 77.5946
_SPREAD_DEG = 0.15
_STEP_DEG = 0.004

_METER = """() => {
  const meter = { frames: 0, longest: 0, slow: 0, busy: 0, longestTask: 0 };
  let last = performance.now();
  const frame = (now) => {
    meter.frames += 1;
    meter.longest = Math.max(meter.longest, now - last);
    if (now - last > 100) meter.slow += 1;
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) {
      meter.busy += duration;
      meter.longestTask = Math.max(meter.longestTask, duration);
    }
  }).observe({ type: "longtask" });
  globalThis.takeMeter = () => {
    const taken = { ...meter };
    Object.assign(meter, { frames: 0, longest: 0, slow: 0, busy: 0, longestTask: 0 });
    return taken;
  };
}"""


class Crowd:
    """People who drive about one town; one connection of role service speaks for all of them."""

    def __init__(self, up: Up, people: int) -> None:
        self._rng = random.Random(10)
        self._heading = [self._rng.uniform(0, 2 * math.pi) for _ in range(people)]
        self._place = [
            (_TOWN[0] + self._rng.gauss(0, _SPREAD_DEG), _TOWN[1] + self._rng.gauss(0, _SPREAD_DEG))
            for _ in range(people)
        ]
        self._ids = itertools.cycle(range(1, 60_000))
        self._socket = socket.create_connection(("127.0.0.1", up.port))
        login = string("fieldbeat:crowd") + string("load") + string(up.token())
        self._socket.sendall(packet(CONNECT, string("MQTT") + bytes([4, 0xC2, 0, 0]) + login))
        if self._socket.recv(4)[3:] != b"\0":
            raise SystemExit("the broker refuses the crowd")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drive, name="crowd")

    def introduce(self) -> None:
        """Let everybody be heard once, and be stored."""
        turns = range(len(self._place))
        for first in range(0, len(turns), _AT_ONCE):
            self._tell(turns[first : first + _AT_ONCE])

    @contextmanager
    def driving(self) -> Iterator[None]:
        """Let everybody report once a minute until the end of the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
            self._socket.sendall(DISCONNECT)
            self._socket.close()

    def _drive(self) -> None:
        began, told, people = time.monotonic(), 0, len(self._place)
        while not self._stop.wait(0.02):
            due = int((time.monotonic() - began) * people / PERIOD_S)
            self._tell(range(people + told, people + due))
            told = due

    def _tell(self, turns: range) -> None:
        """Publish the heartbeats whose TURNS have come, and wait until the broker has taken them."""
        self._socket.sendall(b"".join(self._packet(turn) for turn in turns))
        missing = len(turns) * _PUBACK_BYTES
        while missing:
            missing -= len(self._socket.recv(missing))

    def _packet(self, turn: int) -> bytes:
        seq, person = divmod(turn, len(self._place))
        latitude, longitude = self._place[person]
        self._heading[person] += self._rng.gauss(0, 0.4)
        latitude += _STEP_DEG * math.cos(self._heading[person])
        longitude += _STEP_DEG * math.sin(self._heading[person])
        self._place[person] = latitude, longitude
        said = {
            "device": "phone", "session": f"run-{person}", "seq": seq, "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
            "latitude": round(latitude, 6), "longitude": round(longitude, 6), "accuracy": 5, "battery": 20 + person % 80,
        }  # fmt: skip
        topic = string(f"company/{COMPANY}/presence/u{person:05d}")
        return packet(PUBLISH_QOS1, topic + next(self._ids).to_bytes(2, "big") + json.dumps(said).encode())


def measure(up: Up, browser: Browser, people: int, seconds: float) -> dict[str, Any]:
    """Return what the page costs while PEOPLE move, in samples over SECONDS, and while somebody drags the map."""
    page = browser.new_context(viewport={"width": 1400, "height": 860}).new_page()
    page.goto(f"http://127.0.0.1:{up.environment['FIELDBEAT_HTTP_PORT']}/")
    page.get_by_label("Token").fill(up.token(COMPANY, "dispatcher", "dashboard"))
    began = time.monotonic()
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#roster-count")).to_have_text(f"{people:,} people", timeout=60_000)
    filled_s = time.monotonic() - began
    page.evaluate(_METER)
    samples = [_sample(page, browser, seconds / SAMPLES) for _ in range(SAMPLES)]
    return {"roster_filled_s": round(filled_s, 1), "samples": samples, "dragged": _dragged(page)}


def _sample(page: Page, browser: Browser, seconds: float) -> dict[str, Any]:
    """Return frames, memory and CPU over the next SECONDS."""
    pids = _processes(browser)
    before = {kind: sum(map(cpu_s, some)) for kind, some in pids.items()}
    page.evaluate("takeMeter()")
    began = time.monotonic()
    page.wait_for_timeout(seconds * 1000)
    took_s, meter = time.monotonic() - began, page.evaluate("takeMeter()")
    session = page.context.new_cdp_session(page)
    heap = session.send("Runtime.getHeapUsage")["usedSize"] / 2**20
    session.detach()
    return {
        "frames_per_s": round(meter["frames"] / took_s, 1),
        "longest_frame_ms": round(meter["longest"]),
        "frames_over_100_ms": meter["slow"],
        "long_tasks_percent": round(meter["busy"] / took_s / 10, 1),
        "longest_task_ms": round(meter["longestTask"]),
        "js_heap_mib": round(heap, 1),
        "page_mib": round(sum(map(memory_mib, pids["renderer"])), 1),
        **{
            f"{kind}_cpu_percent": round(100 * (sum(map(cpu_s, some)) - before[kind]) / took_s)
            for kind, some in pids.items()
        },
    }


def _dragged(page: Page) -> dict[str, Any]:
    """Return the frames while somebody drags the map about."""
    page.evaluate("takeMeter()")
    began = time.monotonic()
    page.mouse.move(700, 400)
    page.mouse.down()
    turn = 0
    while time.monotonic() - began < _DRAG_S:
        turn += 1
        page.mouse.move(700 + 200 * math.sin(turn / 15), 400 + 150 * math.cos(turn / 15))
    page.mouse.up()
    took_s, meter = time.monotonic() - began, page.evaluate("takeMeter()")
    return {"frames_per_s": round(meter["frames"] / took_s, 1), "longest_frame_ms": round(meter["longest"])}


def _processes(browser: Browser) -> dict[str, list[int]]:
    """Return the ids of Chromium's processes that draw: the page's own, and the one that puts its layers together."""
    session = browser.new_browser_cdp_session()
    found: dict[str, list[int]] = {"renderer": [], "GPU": []}
    for each in session.send("SystemInfo.getProcessInfo")["processInfo"]:
        if each["type"] in found:
            found[each["type"]].append(each["id"])
    session.detach()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        up = Up(Path(home))
        try:
            crowd = Crowd(up, chosen.people)
            crowd.introduce()
            browser = playwright.chromium.launch(executable_path=program("chromium"), args=["--no-sandbox"])
            with crowd.driving():
                found = measure(up, browser, chosen.people, chosen.seconds)
            version = browser.version
            browser.close()
            found["stored"] = up.stored()
        finally:
            up.stop()
    if chosen.json:
        print(json.dumps({"machine": machine(), "chromium": version, "people": chosen.people, **found}))
        return
    print(
        f"{machine()}\nChromium {version}, {chosen.people:,} people, the roster filled in {found['roster_filled_s']} s"
    )
    for sample in found["samples"]:
        print("  ".join(f"{name} {value}" for name, value in sample.items()))
    print(f"dragged: {found['dragged']}; {found['stored']:,} heartbeats stored")


if __name__ == "__main__":
    main()
