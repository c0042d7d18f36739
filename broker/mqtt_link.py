"""A link over MQTT, by paho: MQTT 5 where the broker speaks it, else 3.1.1; manual acknowledgement; reconnects with jitter."""

from __future__ import annotations

import logging
import random
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import SplitResult, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker.buffered_paho import BufferedClient
from broker.inbox import Inbox, Receipts
from broker.link import Delivery, Spell
from broker.mqtt_stream import Publication
from models.errors import BadSetting, LinkLost

log = logging.getLogger(__name__)

_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_SESSION_EXPIRY_S = 7 * 24 * 3600
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.2, 10.0
_CONNECT_TIMEOUT_S = 10.0
_MOST_IN_FLIGHT = 0xFFFF
_UNSUPPORTED_VERSION = "Unsupported protocol version"


@dataclass(frozen=True, slots=True)
class Options:
    """How to connect. `token` is asked for anew at every connection, since tokens expire."""

    url: str
    client_id: str
    token: Callable[[], str] = field(repr=False)
    username: str = "fieldbeat"
    persistent: bool = True
    will: tuple[str, bytes] | None = None
    share: str | None = None
    """The name of a shared subscription [MQTT5-4.8.2]: the broker then gives each message to one of its members."""
    keepalive_s: int = 30
    inbox: int = 10_000


class _Published:
    """The confirmation of one publication, by the PUBACK of the connection it went out on."""

    def __init__(self, connection: _Connection, info: paho.MQTTMessageInfo) -> None:
        self._connection = connection
        self._info = info

    def wait(self, timeout_s: float) -> bool:
        try:
            self._info.wait_for_publish(timeout_s)
            return self._info.is_published()
        except (RuntimeError, ValueError):
            return False


class _Connection:
    """One connection, from CONNECT to its end; a link has one after another."""

    def __init__(self, link: MqttLink, protocol: MQTTProtocolVersion) -> None:
        options = link.options
        self._link = link
        self.protocol = protocol
        self.refusal: str | None = None
        self.spell: Spell | None = None
        self.subscribed = False
        self.ended = False
        address = broker_address(options.url)
        v5 = protocol == MQTTProtocolVersion.MQTTv5
        self.client = BufferedClient(
            self._arrived,
            link.is_full,
            client_id=options.client_id,
            protocol=protocol,
            clean_session=None if v5 else not options.persistent,
            transport="websockets" if address.scheme in ("ws", "wss") else "tcp",
        )
        self.client.connect_timeout = _CONNECT_TIMEOUT_S
        # Whoever publishes waits for pages; with a limit here paho would walk over all that is under way at each PUBACK.
        self.client.max_inflight_messages_set(0)
        self.client.username_pw_set(options.username, options.token())
        if address.scheme in ("mqtts", "wss"):
            self.client.tls_set_context(ssl.create_default_context())
        if address.scheme in ("ws", "wss"):
            self.client.ws_set_options(path=address.path or "/mqtt")
        if options.will is not None:
            self.client.will_set(*options.will, qos=1, retain=True)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = self._on_subscribe

    def run(self) -> None:
        """Connect, and stay until the connection ends; raise `OSError` when there is nobody to connect to."""
        options, address = self._link.options, broker_address(self._link.options.url)
        v5: dict[str, Any] = {}
        if self.protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves it untyped
            # Without it Mosquitto has no more than its max_inflight_messages under way, 20 unless it is configured.
            properties.ReceiveMaximum = min(2 * options.inbox, _MOST_IN_FLIGHT)
            if options.persistent:
                properties.SessionExpiryInterval = _SESSION_EXPIRY_S
            v5 = {"clean_start": not options.persistent, "properties": properties}
        port = address.port or _PORTS[address.scheme]
        try:
            self.client.connect(address.hostname or "", port, options.keepalive_s, **v5)
            while self.client.loop(timeout=1.0) == paho.MQTT_ERR_SUCCESS and self.refusal is None:
                if self._link.closed and self.spell is None:
                    return
        finally:
            self.ended = True
            # Without these circles the client goes as soon as nobody needs it.
            self.client.on_connect = self.client.on_subscribe = None
            self.client.close()

    def _on_connect(
        self, _client: paho.Client, _data: object, flags: paho.ConnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            self.refusal = str(reason)
            return
        self.spell = Spell(datetime.now(UTC), resumed=flags.session_present)
        self._link.began(self)

    def _on_subscribe(
        self, _client: paho.Client, _data: object, _mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        if refused:
            self.refusal = f"the broker refuses the subscription: {refused[0]}"
        self.subscribed = not refused

    def subscribe(self, filters: Sequence[str]) -> None:
        if not filters:
            return
        if self.protocol == MQTTProtocolVersion.MQTTv5:
            self.client.subscribe([(pattern, SubscribeOptions(qos=1)) for pattern in self._shared(filters)])
        elif self._link.options.share is not None:
            self.refusal = "several workers need a broker that speaks MQTT 5"
        else:
            self.client.subscribe([(pattern, 1) for pattern in filters])

    def unsubscribe(self, filters: Sequence[str]) -> None:
        self.client.unsubscribe(self._shared(filters))

    def _shared(self, filters: Sequence[str]) -> list[str]:
        share = self._link.options.share
        return [pattern if share is None else f"$share/{share}/{pattern}" for pattern in filters]

    def _arrived(self, publications: Sequence[Publication]) -> bool:
        acknowledge = self.client.acknowledge
        return self._link.arrived(
            [
                Delivery(
                    _text(one.topic),
                    one.payload,
                    received_at,
                    partial(acknowledge, one.packet_id) if one.packet_id else _nothing,
                    one.retain,
                )
                for one, received_at in zip(publications, self._link.receipts.next_many(len(publications)), strict=True)
            ]
        )


def _text(topic: bytes) -> str:
    try:
        return topic.decode()
    except UnicodeDecodeError:
        return repr(topic)


def _nothing() -> None:
    """Acknowledge what came at QoS 0."""


class MqttLink:
    """A `Link` to any MQTT broker. It connects in a thread of its own, and again whenever the connection ends."""

    def __init__(self, options: Options) -> None:
        broker_address(options.url)
        self.options = options
        self.receipts = Receipts()
        self._filters: tuple[str, ...] = ()
        self._inbox = Inbox(options.inbox, self._has_room)
        self._connection: _Connection | None = None
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._protocol = MQTTProtocolVersion.MQTTv5
        self.trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"mqtt {options.client_id}", daemon=True)
        self._thread.start()

    @property
    def spell(self) -> Spell | None:
        connection = self._connection
        return None if connection is None or connection.ended else connection.spell

    @property
    def waiting(self) -> int:
        """How many deliveries wait for the pipe."""
        return len(self._inbox)

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def wait_connected(self, timeout_s: float) -> bool:
        """Whether the link is connected, waiting for it for at most TIMEOUT_S."""
        with self._changed:
            return self._changed.wait_for(lambda: self.spell is not None, timeout_s)

    @property
    def is_listening(self) -> bool:
        """Whether the broker has confirmed the subscription, in the present spell."""
        connection = self._connection
        return connection is not None and connection.subscribed and not connection.ended

    def deliveries(self, filters: Sequence[str], idle_s: float) -> Iterator[Delivery | None]:
        with self._changed:
            self._filters = tuple(filters)
            if self._connection is not None and not self._connection.ended:
                self._connection.subscribe(self._filters)
        return self._inbox.drain(idle_s)

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """Have the broker add nothing more of FILTERS to our session; raise `LinkLost` when there is none to tell."""
        self._connected().unsubscribe(filters)

    def _connected(self) -> _Connection:
        connection = self._connection
        if connection is None or connection.ended or connection.spell is None:
            raise LinkLost(f"not connected to {self.options.url}")
        return connection

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> _Published:
        connection = self._connected()
        info = connection.client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise LinkLost(f"not connected to {self.options.url}: {paho.error_string(info.rc)}")
        return _Published(connection, info)

    def close(self) -> None:
        self._closed.set()
        self._inbox.close()
        connection = self._connection
        if connection is not None:
            connection.client.leave()
        self._thread.join(timeout=5)

    def began(self, connection: _Connection) -> None:
        """Note that a connection's spell began; what the last one brought comes again."""
        self._inbox.clear()
        with self._changed:
            self._connection = connection
            connection.subscribe(self._filters)
            self._changed.notify_all()
        log.info("connected to the broker", extra={"action": "link_connected", "client_id": self.options.client_id})

    def arrived(self, deliveries: Sequence[Delivery]) -> bool:
        """Pass DELIVERIES on, and return whether earlier ones still wait."""
        return self._inbox.put(deliveries)

    def is_full(self) -> bool:
        return self._inbox.is_full

    def _has_room(self) -> None:
        if (connection := self._connection) is not None:
            connection.client.wake()

    def _run(self) -> None:
        delay_s = _FIRST_DELAY_S
        while not self._closed.is_set():
            connection = _Connection(self, self._protocol)
            why = "the connection ended"
            try:
                connection.run()
            except (OSError, ValueError, paho.WebsocketConnectionError) as error:
                why = str(error) or type(error).__name__
            if connection.spell is not None and connection.refusal is None:
                delay_s = _FIRST_DELAY_S
            if connection.refusal == _UNSUPPORTED_VERSION and self._protocol == MQTTProtocolVersion.MQTTv5:
                self._protocol = MQTTProtocolVersion.MQTTv311
                continue
            self.trouble = connection.refusal or why
            if not self._closed.is_set():
                extra = {"action": "link_lost", "client_id": self.options.client_id}
                log.warning("no link to %s: %s", self.options.url, self.trouble, extra=extra)
            # Full jitter: a fleet of links must not come back all at once.
            self._closed.wait(random.uniform(delay_s / 2, delay_s))  # noqa: S311 no secret
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)


def broker_address(url: str) -> SplitResult:
    """Return the parts of the broker's URL, or raise `BadSetting`."""
    try:
        address = urlsplit(url)
        usable = address.scheme in _PORTS and bool(address.hostname) and (address.port is None or address.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise BadSetting("FIELDBEAT_BROKER_URL must be mqtt://HOST[:PORT], mqtts://, ws:// or wss://")
    return address


def probe(url: str, username: str, token: str, timeout_s: float = 5.0) -> str | None:
    """Return what is wrong with connecting to the broker at URL with TOKEN, None when nothing is."""
    options = Options(url, f"fieldbeat:probe-{random.randrange(16**8):08x}", lambda: token, username, persistent=False)  # noqa: S311 a name
    link = MqttLink(options)
    try:
        return None if link.wait_connected(timeout_s) else link.trouble or f"no answer from {url}"
    finally:
        link.close()
