"""Start and stop: ports, threads, and what a stopping broker does not say."""

from __future__ import annotations

import socket
import threading

import pytest

from broker.access import Claims
from broker.embedded import EmbeddedBroker, Limits, LocalLink, Options
from models import topics
from models.errors import BadSetting, LinkLost
from tests.integration import raw_mqtt
from tests.integration.embedded_lab import OFFLINE, running
from tests.integration.raw_mqtt import RawClient


def verify(token: str, username: str) -> Claims:
    raise AssertionError((token, username))


def is_revoked(claims: Claims) -> bool:
    raise AssertionError(claims)


def test_a_taken_port_is_named_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        port, free_port = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        broker = EmbeddedBroker(Options(port=free_port, ws_port=port), verify, is_revoked)
        with pytest.raises(
            BadSetting, match=f"FIELDBEAT_EMBEDDED_WS_PORT: cannot listen on 127.0.0.1:{port}: Address already in use"
        ):
            broker.start()
        socket.create_server(("127.0.0.1", free_port)).close()
    with pytest.raises(LinkLost):
        _ = broker.addresses


def test_an_unusable_limit_is_named() -> None:
    with pytest.raises(BadSetting, match="'pending'"):
        Limits(pending=0)


def test_a_broker_that_stops_ends_all_connections_and_frees_its_ports() -> None:
    with running(ws=True) as lab:
        assert lab.broker.addresses.websocket is not None
        assert any(thread.name == "embedded-broker" for thread in threading.enumerate())
        idle, half, device = lab.raw(), lab.raw(), lab.device(will=OFFLINE)
        half.send(raw_mqtt.connect("acme:alice")[:9])
        lab.wait(lambda counters: counters.connections_total == 3)
        port = lab.port
        lab.broker.stop()
        assert all(client.ended() for client in (idle, half, device))
        assert lab.counters.closed["stopped"] == 1
        assert not lab.broker.running
        assert not any(thread.name == "embedded-broker" for thread in threading.enumerate())
        with pytest.raises(ConnectionRefusedError):
            RawClient(port)
        lab.broker.stop()


def test_whether_the_broker_answers_is_asked_of_its_own_thread() -> None:
    held = threading.Event()
    with running() as lab:
        assert lab.broker.trouble(10) is None
        lab.broker.call(held.wait)
        assert lab.broker.trouble(0.01) == "the embedded broker does not answer"
        held.set()
        assert lab.broker.trouble(10) is None
        lab.broker.stop()
        assert lab.broker.trouble(10) == "the embedded broker does not run"


def test_a_broker_that_stops_declares_no_device_offline() -> None:
    with running(hold_pubacks=True) as lab:
        link = LocalLink(lab.broker)
        deliveries = link.deliveries(topics.INGEST_FILTERS, 0.01)
        assert next(deliveries) is None
        lab.device(will=OFFLINE)
        lab.broker.stop()
        assert next(deliveries) is None
        assert lab.counters.wills == 0
        link.close()
