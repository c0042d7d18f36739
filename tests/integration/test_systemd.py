"""The services tell systemd when they are ready and when they stop [sd_notify(3)]."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers import free_port

_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 30.0


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(_PATIENCE_S)
        yield listener


@pytest.mark.parametrize("command", ["ingest", "web"])
def test_a_service_says_when_it_is_ready_and_when_it_stops_though_the_broker_is_away(
    systemd: socket.socket, tmp_path: Path, command: str
) -> None:
    settings = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "PYTHONPATH": str(_ROOT),
        "FIELDBEAT_BROKER_URL": f"mqtt://127.0.0.1:{free_port()}",
        "FIELDBEAT_HTTP_PORT": "0",
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FIELDBEAT_")}
    process = subprocess.Popen(  # noqa: S603 our own command
        [sys.executable, "-m", "cli.main", command],
        cwd=tmp_path, env=clean | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert systemd.recv(100) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert systemd.recv(100) == b"STOPPING=1"
        assert process.wait(_PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait(_PATIENCE_S)
