"""SIGKILL of broker and worker together: whatever was acknowledged to a device is in the worker's store."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from broker.access import Claims, Role
from broker.tokens import Key, issue
from tests.integration import raw_mqtt
from tests.integration.embedded_lab import PRESENCE, SECRET, now
from tests.integration.raw_mqtt import RawClient, publish

WINDOW = 200


def acknowledged_until_killed(port: int, process: subprocess.Popen[str], kill_after_s: float) -> int:
    """Return how many of the messages 1, 2, … were acknowledged to a device before the process died."""
    claims = Claims("acme", "alice", Role.DEVICE, now() + timedelta(hours=1), now())
    sent = acknowledged = 0
    with RawClient(port) as device:
        device.send(raw_mqtt.connect("acme:alice", "alice", issue(Key.from_secret(SECRET), claims)))
        assert device.answer() is not None
        kill_at = time.monotonic() + kill_after_s
        while True:
            burst = range(sent + 1, acknowledged + WINDOW + 1)
            device.send(*(publish(PRESENCE, b"%d" % number, 1, number % 65_000 + 1) for number in burst))
            sent = acknowledged + WINDOW
            if time.monotonic() >= kill_at and process.poll() is None:
                process.kill()
            answer = device.answer()
            if answer is None:
                return acknowledged
            acknowledged += 1
            assert int.from_bytes(answer.body, "big") == acknowledged % 65_000 + 1


@pytest.mark.parametrize("seed", range(5))
def test_nothing_acknowledged_is_missing_after_a_kill(tmp_path: Path, seed: int) -> None:
    stored = tmp_path / "stored"
    command = [sys.executable, "-m", "tests.integration.embedded_worker", str(stored)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 our own program
        assert process.stdout is not None
        port = int(process.stdout.readline())
        acknowledged = acknowledged_until_killed(port, process, random.Random(seed).uniform(0.05, 0.4))
    numbers = {int(line) for line in stored.read_bytes().split()}
    assert acknowledged > 0
    assert set(range(1, acknowledged + 1)) <= numbers
