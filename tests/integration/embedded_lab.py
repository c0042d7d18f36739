"""A real embedded broker on free ports with real tokens, and raw clients of every role."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, Unpack

from broker.access import Claims, Role
from broker.embedded import EmbeddedBroker, Limits, Options, Snapshot
from broker.tokens import Key, Revocations, Verifier, issue
from tests.integration import raw_mqtt
from tests.integration.raw_mqtt import RawClient

SECRET = "a secret of the tests, long enough for HS256"
PRESENCE = "company/acme/presence/alice"
OFFLINE = (PRESENCE, b"offline", 1, False)


def now() -> datetime:
    return datetime.now(UTC)


class ConnectOptions(TypedDict, total=False):
    """What a test may say of a CONNECT; see `raw_mqtt.connect`."""

    clean: bool
    keepalive: int
    will: tuple[str, bytes, int, bool] | None
    protocol: str
    level: int


class ClientOptions(ConnectOptions, total=False):
    """What a test may say of a client besides; see `RawClient`."""

    ack: bool
    receive_buffer: int | None


class Lab:
    """The broker under test, and whatever connects to it."""

    def __init__(self, broker: EmbeddedBroker, key: Key, stack: ExitStack) -> None:
        self.broker = broker
        self.revocations = Revocations()
        self._key = key
        self._stack = stack

    @property
    def port(self) -> int:
        return self.broker.addresses.tcp[1]

    @property
    def counters(self) -> Snapshot:
        return self.broker.counters

    def token(
        self, user: str = "alice", company: str = "acme", role: Role = Role.DEVICE, lifetime_s: float = 600.0
    ) -> str:
        return issue(self._key, Claims(company, user, role, now() + timedelta(seconds=lifetime_s), now()))

    def raw(self, *, ack: bool = True, receive_buffer: int | None = None) -> RawClient:
        return self._stack.enter_context(RawClient(self.port, ack=ack, receive_buffer=receive_buffer))

    def connect(
        self,
        client_id: str,
        user: str,
        token: str,
        *,
        ack: bool = True,
        receive_buffer: int | None = None,
        **options: Unpack[ConnectOptions],
    ) -> RawClient:
        """Connect, without a look at the answer."""
        client = self.raw(ack=ack, receive_buffer=receive_buffer)
        client.send(raw_mqtt.connect(client_id, user, token, **options))
        return client

    def device(
        self, user: str = "alice", company: str = "acme", suffix: str = "", **options: Unpack[ClientOptions]
    ) -> RawClient:
        return self._accepted(f"{company}:{user}{suffix}", user, self.token(user, company), **options)

    def dashboard(
        self, user: str = "dana", company: str = "acme", client_id: str = "", **options: Unpack[ClientOptions]
    ) -> RawClient:
        token = self.token(user, company, Role.DASHBOARD)
        return self._accepted(client_id or f"dashboard-{user}", user, token, **options)

    def service(self, name: str = "ingest", *filters: str, **options: Unpack[ClientOptions]) -> RawClient:
        """Connect as the service and subscribe to FILTERS at QoS 1."""
        client = self._accepted(f"fieldbeat:{name}", "service", self.token("service", "own", Role.SERVICE), **options)
        if filters:
            client.send(raw_mqtt.subscribe(1, *((pattern, 1) for pattern in filters)))
            suback = client.answer()
            assert suback is not None
            assert suback.kind == 9
        return client

    def _accepted(self, client_id: str, user: str, token: str, **options: Unpack[ClientOptions]) -> RawClient:
        client = self.connect(client_id, user, token, **options)
        connack = client.answer()
        assert connack is not None
        assert connack.body[1] == 0, connack
        return client

    def wait(self, condition: Callable[[Snapshot], bool], timeout_s: float = 5.0) -> Snapshot:
        """Return the counters as soon as they fulfil CONDITION."""
        deadline = time.monotonic() + timeout_s
        while not condition(counters := self.counters):
            assert time.monotonic() < deadline, counters
            time.sleep(0.005)
        return counters


@contextmanager
def running(*, hold_pubacks: bool = False, ws: bool = False, **limits: Any) -> Iterator[Lab]:  # noqa: ANN401 as `Limits` says
    """Run a broker; `hold_pubacks` is off unless a test is about it, so that no worker is needed."""
    key = Key.from_secret(SECRET)
    verifier = Verifier.of([key], ["HS256"], timedelta(days=30), now)
    options = Options(port=0, ws_port=0 if ws else None, hold_pubacks=hold_pubacks, limits=Limits(**limits))
    with ExitStack() as stack:

        def is_revoked(claims: Claims) -> bool:
            return lab.revocations.cover(claims)

        broker = EmbeddedBroker(options, verifier.verify, is_revoked)
        lab = Lab(broker, key, stack)
        broker.start()
        stack.callback(broker.stop)
        yield lab
