"""A device as it should be: it keeps each message until its PUBACK, and sends again what it kept after every reconnect."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.acceptance.field import Field
from tests.integration.raw_mqtt import RawClient, connect, publish

WINDOW = 20
PATIENCE_S = 60.0
_PUBACK = 4

Message = tuple[str, bytes]
"""A channel and a payload."""


class Persistent:
    """Sends MESSAGE(0), MESSAGE(1) and so on, up to `WINDOW` of them in flight, with a pause of PACE_S after each."""

    def __init__(
        self, field: Field, name: str, message: Callable[[int], Message], *, clean: bool = True, pace_s: float = 0.0
    ) -> None:
        self._field = field
        self._name = name
        self._message = message
        self._clean = clean
        self._pace_s = pace_s
        self._token = field.token("acme", name)
        self._stop = threading.Event()
        self._unacked: dict[int, int] = {}
        self._next = 0
        self.acked: set[int] = set()
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def finish(self) -> None:
        """Send nothing new, but go on until everything has been acknowledged."""
        self._stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), f"{self._name}: {len(self._unacked)} without PUBACK"

    def _run(self) -> None:
        while not self._stop.is_set() or self._unacked:
            try:
                with RawClient(self._field.port) as client:
                    client.send(connect(f"acme:{self._name}", self._name, self._token, clean=self._clean))
                    if client.answer() is not None:
                        client.send(*(self._packet(number, dup=True) for number in self._unacked))
                        self._talk(client)
            except OSError:
                self._stop.wait(0.05)

    def _talk(self, client: RawClient) -> None:
        while not client.closed and (not self._stop.is_set() or self._unacked):
            while len(self._unacked) < WINDOW and not self._stop.wait(self._pace_s):
                number = self._next % 60_000 + 1
                self._unacked[number] = self._next
                self._next += 1
                client.send(self._packet(number))
            answer = client.answer(1.0)
            if answer is not None and answer.kind == _PUBACK:
                self.acked.add(self._unacked.pop(int.from_bytes(answer.body, "big")))

    def _packet(self, number: int, *, dup: bool = False) -> bytes:
        channel, payload = self._message(self._unacked[number])
        return publish(f"company/acme/{channel}/{self._name}", payload, 1, number, dup=dup)
