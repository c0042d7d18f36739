"""Eclipse's interoperability tests for MQTT 3.1.1 against the embedded broker, and against Mosquitto in the same run.

    git clone https://github.com/eclipse-paho/paho.mqtt.testing
    python -m benchmarks.eclipse_interoperability paho.mqtt.testing/interoperability

Its clients get a token of role `service` and topics under `company/`; nothing else of the suite is changed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.embedded_broker import server, token
from broker.access import Role

TESTS = (
    "testBasic",
    "test_retained_messages",
    "will_message_test",
    "test_zero_length_clientid",
    "test_offline_message_queueing",
    "test_overlapping_subscriptions",
    "test_keepalive",
    "test_redelivery_on_reconnect",
    "test_subscribe_failure",
    "test_dollar_topics",
    "test_unsubscribe",
)
TOPICS = ("TopicA", "TopicA/B", "Topic/C", "TopicA/C", "/TopicA")
WILDCARDS = ("TopicA/+", "+/C", "#", "/#", "/+", "+/+", "TopicA/#")
FORBIDDEN = ("test/nosubscribe",)
PREFIX = "company/eclipse/"
MOSQUITTO = "/usr/sbin/mosquitto"
RESULTS = Path(__file__).parent / "results" / "eclipse_interoperability.json"


def run_one(suite: Path, name: str, port: int) -> bool:
    """Run the test NAME of SUITE in this process."""
    sys.path.insert(0, str(suite))
    tests: Any = importlib.import_module("client_test")
    credentials = token("service", Role.SERVICE)
    original: Callable[..., object] = tests.mqtt_client.Client.connect

    def connect(self: Any, **options: object) -> object:  # noqa: ANN401 a client of the suite
        if self.clientid and not self.clientid.startswith(b"fieldbeat:"):
            self.clientid = b"fieldbeat:" + self.clientid
        return original(self, **options, username="service", password=credentials.encode())

    tests.mqtt_client.Client.connect = connect
    tests.host, tests.port = "127.0.0.1", port
    tests.topics = tuple(PREFIX + topic for topic in TOPICS)
    tests.wildtopics = tuple(PREFIX + topic for topic in WILDCARDS)
    tests.nosubscribe_topics = FORBIDDEN
    outcome = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(unittest.TestSuite([tests.Test(name)]))
    return outcome.wasSuccessful()


@contextmanager
def mosquitto() -> Iterator[int]:
    """Run a Mosquitto that lets everybody in, and yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        configuration = Path(directory) / "mosquitto.conf"
        configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
        with subprocess.Popen([MOSQUITTO, "-c", str(configuration)], stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise SystemExit("mosquitto did not start") from None
                    time.sleep(0.05)
            try:
                yield port
            finally:
                process.terminate()


def run_all(suite: Path, port: int) -> dict[str, str]:
    """Return pass, fail or hang of each test against the broker at PORT, one process each."""
    outcomes = {}
    for name in TESTS:
        command = [
            sys.executable,
            "-m",
            "benchmarks.eclipse_interoperability",
            str(suite),
            "--one",
            name,
            "--port",
            str(port),
        ]
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
            try:
                outcomes[name] = "fail" if process.wait(60) else "pass"
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                outcomes[name] = "hang"
            if outcomes[name] != "pass":
                said.seek(0)
                print(name, said.read()[-1500:], file=sys.stderr)
    return outcomes


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--one", choices=TESTS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        sys.exit(0 if run_one(options.suite, options.one, options.port) else 1)
    with server("embedded") as ours:
        embedded = run_all(options.suite, ours.port)
    with mosquitto() as port:
        theirs = run_all(options.suite, port)
    table = {name: {"embedded": embedded[name], "mosquitto": theirs[name]} for name in TESTS}
    passed = {kind: sum(row[kind] == "pass" for row in table.values()) for kind in ("embedded", "mosquitto")}
    figures = {"passed": passed, "of": len(TESTS), "tests": table}
    print(json.dumps(figures, indent=2))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
