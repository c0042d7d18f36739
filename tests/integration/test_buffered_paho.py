"""Many messages and few packets between our link and a real Mosquitto, over every transport."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.link import Delivery
from broker.mosquitto.certificate import self_signed
from broker.mqtt_link import MqttLink, Options
from tests.integration import raw_mqtt
from tests.integration.raw_mqtt import RawClient
from tests.servers import Mosquitto, free_port, mosquitto

FILTERS = ["in/#"]
CLIENT_ID = "fieldbeat:buffered"
IDLE_S = 0.1
WITHIN_S = 30.0
LINES = ("allow_anonymous true", "max_queued_messages 0")


@dataclass(frozen=True, slots=True)
class Rig:
    """A Mosquitto, and a way to link to it."""

    server: Mosquitto
    url: str

    def link(self, **options: int) -> MqttLink:
        link = MqttLink(Options(self.url, CLIENT_ID, str, **options))  # type: ignore[arg-type] # all of them are numbers
        assert link.wait_connected(WITHIN_S), link.trouble
        return link

    def send(self, numbers: range) -> None:
        """Publish NUMBERS as a device, and return when Mosquitto has them."""
        with RawClient(self.server.port) as device:
            device.send(raw_mqtt.connect("device"))
            device.send(*(raw_mqtt.publish("in/device", b"%d" % number, 1, number % 60_000 + 1) for number in numbers))
            device.fence()


@pytest.fixture(params=["mqtt", "ws", "mqtts", "wss"])
def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    certificate, key = self_signed(("localhost",), datetime.now(UTC))
    (tmp_path / "server.crt").write_text(certificate)
    (tmp_path / "server.key").write_text(key)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.crt"))
    port = free_port()
    secure = [f"listener {port} 127.0.0.1", f"certfile {tmp_path}/server.crt", f"keyfile {tmp_path}/server.key"]
    if request.param == "wss":
        secure += ["protocol websockets", "socket_domain ipv4"]
    with mosquitto([*LINES, *(secure if request.param in ("mqtts", "wss") else ())]) as server:
        ports = {"mqtt": server.port, "ws": server.ws_port}
        yield Rig(server, f"{request.param}://localhost:{ports.get(request.param, port)}")


@pytest.fixture
def plain() -> Iterator[Rig]:
    with mosquitto(LINES) as server:
        yield Rig(server, f"mqtt://127.0.0.1:{server.port}")


def subscribed(link: MqttLink) -> Iterator[Delivery | None]:
    """Return the deliveries of LINK, after the broker has answered what was written behind SUBSCRIBE."""
    deliveries = link.deliveries(FILTERS, IDLE_S)
    assert link.publish("out/fence", b"").wait(WITHIN_S)
    return deliveries


def take(deliveries: Iterator[Delivery | None], count: int) -> list[Delivery]:
    """Return the next COUNT deliveries."""
    taken: list[Delivery] = []
    silent = 0
    while len(taken) < count:
        delivery = next(deliveries)
        silent = silent + 1 if delivery is None else 0
        assert silent * IDLE_S < WITHIN_S, f"{len(taken)} of {count}"
        if delivery is not None:
            taken.append(delivery)
    return taken


def numbers(taken: list[Delivery]) -> list[int]:
    return [int(delivery.payload) for delivery in taken]


def left_over(rig: Rig) -> list[int]:
    """Return what Mosquitto delivers to the next process before what is new."""
    with closing(rig.link()) as link:
        deliveries = link.deliveries(FILTERS, IDLE_S)
        rig.send(range(-1, 0))
        left: list[int] = []
        while (number := numbers(take(deliveries, 1))[0]) != -1:
            left.append(number)
        return left


def test_four_threads_publish_while_twenty_thousand_messages_are_acknowledged(rig: Rig) -> None:
    with closing(rig.link()) as link, RawClient(rig.server.port) as listener:
        spell, deliveries = link.spell, subscribed(link)
        listener.send(raw_mqtt.connect("listener"), raw_mqtt.subscribe(1, ("out/#", 1)))
        listener.fence()
        rig.send(range(20_000))

        def publish(thread: int) -> None:
            for number in range(500):
                link.publish(f"out/{thread}", b"%d" % number + b"." * (number % 200))

        threads = [threading.Thread(target=publish, args=(each,), name=f"publisher {each}") for each in range(4)]
        for each in threads:
            each.start()
        taken: list[Delivery] = []
        while len(taken) < 20_000:
            batch = take(deliveries, 500)
            for delivery in batch:
                delivery.ack()
            taken += batch
        for each in threads:
            each.join(WITHIN_S)
        heard = listener.messages(2_000, WITHIN_S)
        assert link.spell is spell
    assert numbers(taken) == list(range(20_000))
    for thread in range(4):
        mine = [each.payload for each in heard if each.topic == f"out/{thread}"]
        assert mine == [b"%d" % number + b"." * (number % 200) for number in range(500)]
    assert left_over(rig) == []


def test_acknowledgements_right_before_a_close_are_kept(rig: Rig) -> None:
    for turn in range(10):
        with closing(rig.link()) as link:
            deliveries = subscribed(link)
            rig.send(range(turn * 100, turn * 100 + 100))
            for delivery in take(deliveries, 100):
                delivery.ack()
    assert left_over(rig) == []


def test_acknowledgements_are_kept_when_the_link_closes_over_messages_that_nobody_read(plain: Rig) -> None:
    with closing(plain.link(inbox=100)) as link:
        deliveries = subscribed(link)
        plain.send(range(5_000))
        taken = take(deliveries, 50)
        for delivery in taken:
            delivery.ack()
    assert numbers(taken) == list(range(50))
    with closing(plain.link()) as link:
        assert numbers(take(link.deliveries(FILTERS, IDLE_S), 4_950)) == list(range(50, 5_000))


def test_a_link_whose_worker_is_stuck_keeps_its_connection(plain: Rig) -> None:
    with closing(plain.link(inbox=10, keepalive_s=1)) as link, RawClient(plain.server.port) as silent:
        spell, deliveries = link.spell, subscribed(link)
        plain.send(range(1_000))
        silent.send(raw_mqtt.connect("silent", keepalive=1))
        assert silent.ended(WITHIN_S)  # so long is the worker stuck
        taken: list[Delivery] = []
        for _ in range(1_000):
            taken += take(deliveries, 1)
            taken[-1].ack()
        assert numbers(taken) == list(range(1_000))
        assert link.spell is spell


@pytest.mark.parametrize(
    "nonsense", [b"\x30\xff\xff\xff\xff\x7f", b"\x34\x05\x00\x01t\x00\x01", b"\xf1\x00", b"\x20\x01\x00"]
)
def test_a_broker_that_talks_nonsense_is_left(nonsense: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = MqttLink(Options(f"mqtt://127.0.0.1:{server.getsockname()[1]}", CLIENT_ID, str))
        with closing(link):
            for _ in range(2):  # it comes back, too
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(WITHIN_S)
                    assert connection.recv(1000)[0] == 0x10
                    connection.sendall(b"\x20\x03\x00\x00\x00" + nonsense)
                    while connection.recv(1000):
                        pass
