"""What the embedded broker relies on in amqtt, by name; a new version that changes it fails here and says where."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import pytest
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerType

from broker.embedded.listeners import AMQTT_VERSION, Listeners

OVERRIDDEN = {
    "_create_server_instance": ["self", "listener_name", "listener_type", "address", "port", "ssl_context"],
    "stream_connected": ["self", "reader", "writer", "listener_name"],
    "ws_connected": ["self", "websocket", "listener_name"],
}


def test_the_version_is_the_one_whose_private_names_were_read() -> None:
    assert version("amqtt") == AMQTT_VERSION, "read amqtt/broker.py again before another version is pinned"


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_a_method_that_is_overridden_is_there_with_its_arguments(name: str) -> None:
    assert list(inspect.signature(getattr(Broker, name)).parameters) == OVERRIDDEN[name]
    assert list(inspect.signature(getattr(Listeners, name)).parameters) == OVERRIDDEN[name]


def test_start_creates_its_servers_where_they_are_overridden() -> None:
    source = inspect.getsource(Broker._start_listeners)
    assert "self._create_server_instance(listener_name, listener.type, address, port, ssl_context)" in source
    assert "await self._start_listeners()" in inspect.getsource(Broker.start)


def test_shutdown_closes_the_servers() -> None:
    assert "await server.close_instance()" in inspect.getsource(Broker.shutdown)


def test_no_plugin_is_loaded_when_none_is_asked_for() -> None:
    config = BrokerConfig.from_dict(
        {"listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:1883"}}, "plugins": {}}
    )
    assert config.plugins == {}
    assert config.listeners["default"].type is ListenerType.TCP
