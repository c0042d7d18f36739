"""Every kind of link, each with a way to be a device of its broker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from broker.access import Role
from broker.embedded import LocalLink
from broker.link import Link
from broker.memory_link import MemoryLink
from broker.mqtt_link import MqttLink, Options
from tests.integration.embedded_lab import running
from tests.servers import mosquitto

WITHIN_S = 10.0
CLIENT_ID = "fieldbeat:contract"

Token = Callable[[Role], str]


@dataclass(slots=True)
class Rig:
    """One kind of link, and a way to be a device of its broker."""

    link: Link
    send: Callable[[str, bytes], None]
    retain: Callable[[str, bytes], None]
    reopen: Callable[[], Link]
    """Close the link and open it again, as a restarted process does."""
    port: int | None = None
    token: Token = str

    def again(self) -> Link:
        self.link = self.reopen()
        return self.link


def in_memory(_stack: ExitStack) -> Rig:
    link = MemoryLink()
    return Rig(link, link.send, lambda topic, payload: link.send(topic, payload, retained=True), lambda: link)


def over_mqtt(stack: ExitStack, port: int, token: Token) -> Rig:
    def opened() -> MqttLink:
        url = f"mqtt://127.0.0.1:{port}"
        link = MqttLink(Options(url, CLIENT_ID, lambda: token(Role.SERVICE), username="service"))
        stack.callback(link.close)
        assert link.wait_connected(WITHIN_S), link.trouble
        return link

    def reopen() -> MqttLink:
        made.link.close()
        return opened()

    made = Rig(opened(), device(stack, port, token), lambda *said: publish(made, *said), reopen, port, token)
    return made


def publish(rig: Rig, topic: str, payload: bytes) -> None:
    assert rig.link.publish(topic, payload, retain=True).wait(WITHIN_S)


def device(stack: ExitStack, port: int, token: Token) -> Callable[[str, bytes], None]:
    """Return a way to publish at QoS 1 as a device, without waiting for what the service makes of it."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "acme:alice")
    client.max_inflight_messages_set(0)
    client.username_pw_set("alice", token(Role.DEVICE))
    client.connect("127.0.0.1", port)
    client.loop_start()
    stack.callback(client.loop_stop)
    stack.callback(client.disconnect)

    def send(topic: str, payload: bytes) -> None:
        client.publish(topic, payload, qos=1)

    return send


def at_mosquitto(stack: ExitStack) -> Rig:
    server = stack.enter_context(mosquitto(["allow_anonymous true", "max_inflight_messages 0"]))
    return over_mqtt(stack, server.port, str)


def at_embedded(stack: ExitStack) -> Rig:
    lab = stack.enter_context(running())
    return over_mqtt(stack, lab.port, lambda role: lab.token(_USERS[role], role=role))


def within_embedded(stack: ExitStack) -> Rig:
    lab = stack.enter_context(running(hold_pubacks=True))

    def opened() -> LocalLink:
        link = LocalLink(lab.broker)
        stack.callback(link.close)
        return link

    def reopen() -> LocalLink:
        made.link.close()
        return opened()

    send = device(stack, lab.port, lambda role: lab.token(_USERS[role], role=role))
    made = Rig(opened(), send, lambda *said: publish(made, *said), reopen)
    return made


_USERS = {Role.SERVICE: "service", Role.DEVICE: "alice"}
RIGS = {"memory": in_memory, "mosquitto": at_mosquitto, "embedded": at_embedded, "local": within_embedded}
