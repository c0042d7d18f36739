"""An embedded broker with real tokens, and behind it a service that notes all that virtual devices say."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.access import Claims, Role
from broker.embedded import EmbeddedBroker, LocalLink, Options
from broker.link import Delivery
from broker.tokens import Key, Verifier, issue
from cli.fleet.messages import Identity
from models import topics

SECRET = "a secret of the tests, long enough for HS256"
KEY = Key.from_secret(SECRET)
WITHIN_S = 10.0


def now() -> datetime:
    return datetime.now(UTC)


def token(identity: Identity, role: Role = Role.DEVICE) -> str:
    return issue(KEY, Claims(identity.company, identity.user, role, now() + timedelta(minutes=10), now()))


@dataclass
class Desk:
    """A broker, and a service that takes in whatever arrives."""

    broker: EmbeddedBroker
    deliveries: list[Delivery] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.broker.addresses.tcp[1]}"

    @property
    def ws_url(self) -> str:
        address = self.broker.addresses.websocket
        assert address is not None
        return f"ws://127.0.0.1:{address[1]}/mqtt"

    def take_in(self, link: LocalLink) -> None:
        for delivery in link.deliveries(topics.INGEST_FILTERS, 60.0):
            if delivery is not None:
                with self.changed:
                    self.deliveries.append(delivery)
                    self.changed.notify_all()
                delivery.ack()

    def wait(self, condition: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Return the messages as soon as they fulfil CONDITION."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.messages()), WITHIN_S), self.messages()
            return self.messages()

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(delivery.payload) for delivery in self.deliveries]


@contextmanager
def running(port: int = 0) -> Iterator[Desk]:
    verifier = Verifier.of([KEY], ["HS256"], timedelta(days=1), now)
    broker = EmbeddedBroker(Options(port=port, ws_port=0), verifier.verify, lambda _claims: False)
    broker.start()
    desk, link = Desk(broker), LocalLink(broker)
    taking = threading.Thread(target=desk.take_in, args=(link,), name="desk")
    taking.start()
    try:
        yield desk
    finally:
        link.close()
        broker.stop()
        taking.join(WITHIN_S)
