"""Retiring: what the broker still keeps for an ingest that shall not come back is stored, and its session ends."""

from __future__ import annotations

import time
from datetime import datetime

from sqlalchemy import Engine

from broker.mqtt_link import MqttLink
from broker.takeover import Takeover
from cli import wiring
from cli.fleet.interrupt import stop_on_signals
from cli.settings import Settings
from ingest.dialect import Dialect
from ingest.metrics import Metrics
from models import queries
from models.errors import LinkLost, NotFound

_CONNECT_S = 10.0
_OTHERS_S = 5.0
"""How long to wait for another ingest to note that it listens; it does so every second."""
_LOOK_EVERY_S = 0.1


def retire(settings: Settings, engine: Engine, client_id: str, share: str | None) -> int:
    """Store what waits for CLIENT_ID, end its session, and return how many messages that were.

    Raise `NotFound` when the broker has no such session or when nobody else listens, `LinkLost` when it is interrupted: nothing is
    lost by that, for what was not stored is still in the session.
    """
    _wait_for_others(engine)
    link = wiring.link(settings, client_id, persistent=True, share=share)
    try:
        if not link.wait_connected(_CONNECT_S):
            raise LinkLost(link.trouble or f"no answer from {settings.broker}")
        spell = link.spell
        taken = _drain(settings, engine, link) if spell is not None and spell.resumed else None
    finally:
        link.close()
    _end_session(settings, client_id)
    if taken is None:
        raise NotFound(f"the broker keeps no session of {client_id}")
    return taken


def _wait_for_others(engine: Engine) -> None:
    """Return when another ingest is known to listen: else what comes from now on would be for nobody, and lost."""
    before, give_up = _listened(engine), time.monotonic() + _OTHERS_S
    while _listened(engine) == before:
        if time.monotonic() > give_up:
            raise NotFound("no other ingest listens, so what comes next would be lost: start the one that stays, first")
        time.sleep(_LOOK_EVERY_S)


def _listened(engine: Engine) -> datetime | None:
    with Dialect(engine).reading() as connection:
        return queries.last_listened(connection)


def _drain(settings: Settings, engine: Engine, link: MqttLink) -> int:
    store, metrics = wiring.store(settings, engine), Metrics()
    takeover = Takeover(link, link.options.client_id)
    outbox = wiring.outbox(settings, store, link, wiring.holder())
    worker = wiring.worker(store, takeover, outbox, metrics)
    with stop_on_signals(worker.stop) as stop:
        worker.run()
        outbox.relay()
    if stop.is_set():
        raise LinkLost("stopped half-way: what is left waits in the broker; run the same command again")
    return takeover.taken


def _end_session(settings: Settings, client_id: str) -> None:
    """Connect anew without the session, and leave [MQTT-3.1.2-6; MQTT5-3.1.2.4]."""
    link = wiring.link(settings, client_id, persistent=False)
    try:
        if not link.wait_connected(_CONNECT_S):
            raise LinkLost(f"the session of {client_id} is empty but not ended: run the same command again")
    finally:
        link.close()
