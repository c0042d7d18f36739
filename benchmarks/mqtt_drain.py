"""Draining a persistent session at QoS 1: paho as it comes, paho with manual acknowledgements, and our link with one per batch."""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.load import Load
from benchmarks.machine import machine
from broker.mqtt_link import MqttLink, Options
from ingest.batch import MAX_ITEMS
from tests.integration.raw_mqtt import RawClient, connect, subscribe
from tests.servers import Mosquitto, mosquitto

WANTED_CPU_US = 12.0
CLIENT_ID = "fieldbeat:drain"
FILTER = "company/+/presence/+"
_CONFIGURATION = (
    "allow_anonymous true", "max_inflight_messages 10000", "max_queued_messages 0", "max_queued_bytes 0",
    "set_tcp_nodelay true",
)  # fmt: skip
_WITHIN_S = 300.0
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

Drain = Callable[[int, int], None]
"""Takes and acknowledges so many messages (the second number) from the broker at a port (the first)."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one way of draining came to."""

    rate: float
    """Messages a second, from CONNECT to the last acknowledgement."""
    cpu_us: float
    """Processor time of the client for each message; `broker_cpu_us` that of Mosquitto."""
    broker_cpu_us: float


def with_paho(port: int, messages: int, *, manual: bool) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, CLIENT_ID, clean_session=False, manual_ack=manual)
    taken, done = 0, threading.Event()

    def take(client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        nonlocal taken
        taken += 1
        if manual:
            client.ack(message.mid, message.qos)
        if taken == messages:
            done.set()

    client.on_message = take
    client.connect("127.0.0.1", port)
    client.loop_start()
    if not done.wait(_WITHIN_S):
        raise SystemExit(f"{taken} of {messages} messages came")
    client.disconnect()
    client.loop_stop()


def automatic(port: int, messages: int) -> None:
    with_paho(port, messages, manual=False)


def manual(port: int, messages: int) -> None:
    with_paho(port, messages, manual=True)


def ours(port: int, messages: int) -> None:
    link = MqttLink(Options(f"mqtt://127.0.0.1:{port}", CLIENT_ID, str))
    batch, taken = [], 0
    for delivery in link.deliveries([FILTER], 0.5):
        if delivery is not None:
            batch.append(delivery)
        if len(batch) == MAX_ITEMS or delivery is None:
            for each in batch:
                each.ack()
            taken += len(batch)
            batch.clear()
        if taken == messages:
            break
    link.close()


WAYS: dict[str, Drain] = {"paho": automatic, "paho_manual": manual, "link": ours}


def measure(broker: Mosquitto, messages: int, drain: Drain) -> Figures:
    """Fill a session with MESSAGES and DRAIN it."""
    with RawClient(broker.port) as client:
        client.send(connect(CLIENT_ID, clean=False), subscribe(1, (FILTER, 1)))
        client.answers()
    Load(broker.port, "", "").publish(messages)
    spent, own, began = _spent_s(broker), time.process_time(), time.perf_counter()
    drain(broker.port, messages)
    seconds = time.perf_counter() - began
    cpu_us, broker_cpu_us = time.process_time() - own, _spent_s(broker) - spent
    return Figures(
        round(messages / seconds), round(cpu_us / messages * 1e6, 1), round(broker_cpu_us / messages * 1e6, 1)
    )


def _spent_s(broker: Mosquitto) -> float:
    fields = Path(f"/proc/{broker.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=60_000)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    chosen = parser.parse_args()
    messages = chosen.messages // 100 * 100  # so many connections publish them
    with mosquitto(_CONFIGURATION) as broker:
        figures = {name: measure(broker, messages, drain) for name, drain in WAYS.items()}
    if chosen.json:
        said = {name: asdict(each) for name, each in figures.items()}
        print(json.dumps({"machine": machine(), "messages": messages, "wanted_cpu_us": WANTED_CPU_US, **said}))
        return
    print(f"{machine()}\n{messages:,} messages")
    for name, each in figures.items():
        print(f"{name:<12}{each.rate:>8,.0f}/s {each.cpu_us:>6.1f} µs, and {each.broker_cpu_us:.1f} µs of Mosquitto")


if __name__ == "__main__":
    main()
