"""PUBACK means stored: the whole process is killed again and again under load, and nothing that it acknowledged is missing."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from sqlalchemy import create_engine, select

from models.queries import HISTORY
from tests.acceptance.field import new_field
from tests.acceptance.persistent import Message, Persistent

DEVICES, KILLS = 8, 20


def _beat(seq: int) -> Message:
    return "presence", b'{"device":"d","session":"s","seq":%d,"latitude":1.5,"longitude":2.5}' % seq


def test_nothing_acknowledged_is_missing_after_twenty_kills(tmp_path: Path) -> None:
    dice = random.Random(11)
    with new_field(tmp_path) as field:
        names = [f"user{number}" for number in range(DEVICES)]
        for name in names:
            field.token("acme", name)
        field.start("up")
        devices = [Persistent(field, name, _beat) for name in names]
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
