"""The last turn of a client id: a link that takes over its session, has the broker add nothing more to it, and ends when it is empty."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence

from broker.link import Confirmation, Delivery
from broker.mqtt_link import MqttLink
from models.errors import LinkLost

_MARKERS = "fieldbeat/retiring"
_TICK_S = 0.1
_MARK_EVERY_S = 1.0
WATCH_S = 2.0
"""How long to look whether a live process fights for the client id; it is back after 0.2 s."""


class Takeover:
    """A `Link` over LINK, which is connected and resumed the session. `deliveries` ends once nothing is left in it.

    A session has one queue, so what came before the broker took our UNSUBSCRIBE is delivered before a marker that we send ourselves
    after it. A queue that is full drops the marker, therefore one is sent again and again.
    """

    spell = None
    """It is no time of listening: others get what comes now."""

    def __init__(self, link: MqttLink, client_id: str) -> None:
        self._link = link
        self._client_id = client_id
        self._began = link.spell
        self._topic = f"{_MARKERS}/{client_id}"
        self._marker = secrets.token_hex(8).encode()
        self.taken = 0
        """How many messages were handed to the pipe."""

    def deliveries(self, filters: Sequence[str], idle_s: float) -> Iterator[Delivery | None]:  # noqa: ARG002 we look more often
        """Yield what waits; then None, so that it is written, and the end. FILTERS are what the session is unsubscribed from.

        Raise `LinkLost` when the connection ends, for it may be that a process of this client id is running.
        """
        due_s = time.monotonic() + WATCH_S
        leaving = False
        for delivery in self._link.deliveries((self._topic,), _TICK_S):
            self._check()
            if time.monotonic() >= due_s:
                if not leaving:
                    self._link.unsubscribe(filters)
                    leaving = True
                self._link.publish(self._topic, self._marker)
                due_s = time.monotonic() + _MARK_EVERY_S
            if delivery is None or delivery.topic != self._topic:
                self.taken += delivery is not None
                yield delivery
            elif delivery.payload == self._marker:
                yield None
                return

    def _check(self) -> None:
        if self._link.spell is not self._began:
            raise LinkLost(
                f"the connection of {self._client_id} ended: "
                "stop the process that uses this client id, or wait for the broker, and try again"
            )

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Confirmation:
        return self._link.publish(topic, payload, retain=retain)

    def close(self) -> None:
        self._link.close()
