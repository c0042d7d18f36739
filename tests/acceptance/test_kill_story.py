"""PUBACK means stored: the whole process is killed again and again under load, and nothing that it acknowledged is missing."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

from sqlalchemy import create_engine, select

from models.queries import HISTORY
from tests.acceptance.field import Field, new_field
from tests.integration.raw_mqtt import RawClient, connect, publish

DEVICES, WINDOW, KILLS = 8, 20, 20


class Persistent:
    """A device that keeps up to `WINDOW` heartbeats in flight, and sends again what was not acknowledged after every reconnect."""

    def __init__(self, field: Field, name: str) -> None:
        self._field = field
        self._name = name
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
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.is_set() or self._unacked:
            try:
                with RawClient(self._field.port) as client:
                    client.send(connect(f"acme:{self._name}", self._name, self._token))
                    if client.answer() is not None:
                        client.send(*(self._packet(number, dup=True) for number in self._unacked))
                        self._talk(client)
            except OSError:
                time.sleep(0.05)

    def _talk(self, client: RawClient) -> None:
        while not client.closed and (not self._stop.is_set() or self._unacked):
            while len(self._unacked) < WINDOW and not self._stop.is_set():
                number = self._next % 60_000 + 1
                self._unacked[number] = self._next
                self._next += 1
                client.send(self._packet(number))
            answer = client.answer(1.0)
            if answer is not None and answer.kind == 4:
                self.acked.add(self._unacked.pop(int.from_bytes(answer.body, "big")))

    def _packet(self, number: int, *, dup: bool = False) -> bytes:
        seq = self._unacked[number]
        payload = b'{"device":"d","session":"s","seq":%d,"latitude":1.5,"longitude":2.5}' % seq
        return publish(f"company/acme/presence/{self._name}", payload, 1, number, dup=dup)


def test_nothing_acknowledged_is_missing_after_twenty_kills(tmp_path: Path) -> None:
    dice = random.Random(11)
    with new_field(tmp_path) as field:
        names = [f"user{number}" for number in range(DEVICES)]
        for name in names:
            field.token("acme", name)
        field.start("up")
        devices = [Persistent(field, name) for name in names]
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.05, 0.6))
            field.stop("up", signal.SIGKILL)
            field.start("up")
        for device in devices:
            device.finish()
        engine = create_engine(f"sqlite:///{field.home / '.fieldbeat' / 'fieldbeat.db'}")
        with engine.connect() as connection:
            rows = connection.execute(select(HISTORY.c.user_id, HISTORY.c.message)).all()
        engine.dispose()
        assert len(rows) == len(set(rows)), "twice in the history"
        acked = [len(device.acked) for device in devices]
        assert all(device.acked == set(range(len(device.acked))) for device in devices)
        assert sum(acked) == len(rows)
        assert min(acked) > KILLS
