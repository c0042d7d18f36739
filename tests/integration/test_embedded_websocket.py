"""MQTT over WebSocket: the stream may be cut anywhere, and nothing is made up when it ends in the middle."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.integration import raw_mqtt
from tests.integration.embedded_lab import OFFLINE, PRESENCE, Lab, running
from tests.integration.raw_mqtt import publish, subscribe

MQTT = [Subprotocol("mqtt")]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running(ws=True) as lab:
        yield lab


def open_socket(lab: Lab, subprotocols: list[Subprotocol] | None = None) -> ClientConnection:
    address = lab.broker.addresses.websocket
    assert address is not None
    return connect(f"ws://{address[0]}:{address[1]}/any", subprotocols=subprotocols, compression=None)


def device(lab: Lab) -> ClientConnection:
    client = open_socket(lab, MQTT)
    client.send(raw_mqtt.connect("acme:alice", "alice", lab.token(), will=OFFLINE))
    assert client.recv(5) == b"\x20\x02\x00\x00"
    return client


def test_messages_go_both_ways_in_any_cut(lab: Lab) -> None:
    watcher = lab.service("watcher", "company/acme/#")
    client = device(lab)
    for byte in publish(PRESENCE, b"one", 1, 1):
        client.send(bytes((byte,)))
    client.send(publish(PRESENCE, b"two", 1, 2) + subscribe(3, ("company/acme/state/alice", 1)))
    received = b""
    while len(received) < 13:
        data = client.recv(5)
        assert isinstance(data, bytes)
        received += data
    assert received == b"\x40\x02\x00\x01\x40\x02\x00\x02\x90\x03\x00\x03\x01"
    assert [each.payload for each in watcher.messages(2)] == [b"one", b"two"]
    watcher.send(publish("company/acme/state/alice", b"state"))
    assert client.recv(5) == publish("company/acme/state/alice", b"state")
    client.close()
    assert [each.payload for each in watcher.messages(2)] == [b"state", b"offline"]


def test_a_packet_that_ends_in_the_middle_is_never_published(lab: Lab) -> None:
    watcher = lab.service("watcher", "company/acme/#")
    client = device(lab)
    client.send(publish(PRESENCE, b"x" * 100)[:60])
    client.socket.shutdown(socket.SHUT_RDWR)
    assert [each.payload for each in watcher.messages(1)] == [b"offline"]
    assert watcher.fence() == []


def test_a_text_frame_ends_the_connection(lab: Lab) -> None:
    client = device(lab)
    client.send("text")
    with pytest.raises(ConnectionClosed):
        client.recv(5)
    lab.wait(lambda counters: counters.closed["malformed"] == 1)


def test_another_subprotocol_is_refused(lab: Lab) -> None:
    with pytest.raises(InvalidStatus):
        open_socket(lab)


def test_a_refused_connect_is_answered(lab: Lab) -> None:
    client = open_socket(lab, MQTT)
    client.send(raw_mqtt.connect("acme:alice", "alice", "nonsense"))
    assert client.recv(5) == b"\x20\x02\x00\x05"
    with pytest.raises(ConnectionClosed):
        client.recv(5)


def test_a_large_message_reaches_a_browser_whole(lab: Lab) -> None:
    client = device(lab)
    client.send(subscribe(1, ("company/acme/state/alice", 0)))
    assert client.recv(5) == b"\x90\x03\x00\x01\x00"
    sender = lab.service("sender")
    expected = publish("company/acme/state/alice", bytes(200_000))
    sender.send(expected * 10)
    received = b""
    while len(received) < 10 * len(expected):
        data = client.recv(5)
        assert isinstance(data, bytes)
        received += data
    assert received == expected * 10
