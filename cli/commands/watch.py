"""`fieldbeat watch`: the roster of a company as it changes, over MQTT."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

from broker.link import Delivery, Link
from cli import output, roster, wiring
from cli.fleet.interrupt import stop_on_signals
from cli.options import AsJson, Company
from cli.settings import load
from models.errors import BadSetting
from models.events import State
from models.facts import Status
from models.topics import ROOT, SERVICE, Channel

_DRAW_EVERY_S = 0.5


def watch(company: Company, as_json: AsJson = False) -> None:
    """Show who of a company is here, gone silent first, and keep it up to date over MQTT, until Ctrl-C.

    With --json every state is printed on a line of its own as it comes, the retained ones first.
    """
    if not as_json and not output.is_terminal():
        raise BadSetting("watch draws on a terminal; elsewhere it needs --json")
    settings = load()
    output.start_logging(settings.log_level if as_json else "error", settings.log_format)
    link = wiring.link(settings, f"fieldbeat:watch-{secrets.token_hex(4)}", persistent=False)
    with closing(link), stop_on_signals() as stop:
        heard = _heard(link, company, stop)
        if as_json:
            _print(heard)
        else:
            _draw(link, company, heard)


def _heard(link: Link, company: str, stop: threading.Event) -> Iterator[Delivery | None]:
    """Yield what comes about COMPANY and about the service itself, and None when no more is waiting, until STOP is set."""
    filters = (SERVICE, f"{ROOT}/{company}/{Channel.STATE}/+")
    for delivery in link.deliveries(filters, _DRAW_EVERY_S):
        if stop.is_set():
            return
        if delivery is not None:
            delivery.ack()
        yield delivery


def _print(heard: Iterator[Delivery | None]) -> None:
    for delivery in heard:
        if delivery is None:
            output.flush()
        elif delivery.topic != SERVICE and delivery.payload:
            output.out(delivery.payload.decode())


@dataclass(slots=True)
class Board:
    """What the broker has told so far: the states by user, and whether the service runs."""

    states: dict[str, State] = field(default_factory=dict)
    serving: bool | None = None

    def take(self, delivery: Delivery) -> None:
        said = json.loads(delivery.payload or b"null")
        if delivery.topic == SERVICE:
            self.serving = bool(said and said["online"])
            return
        user = delivery.topic.rpartition("/")[2]
        if said is None:
            self.states.pop(user, None)
        else:
            self.states[user] = State.of(said)

    def rows(self, now: datetime) -> list[tuple[str, ...]]:
        """Return a row for everybody, the most urgent first."""
        return [roster.row(state, now) for state in sorted(self.states.values(), key=roster.urgency)]

    def caption(self, company: str, *, connected: bool) -> str:
        """Return how many there are, and whether what is shown is true."""
        online = sum(state.status is not Status.OFFLINE for state in self.states.values())
        counts = f"{company}: {online} of {len(self.states)} online"
        if not connected:
            return f"{counts}   no connection to the broker: this is how it was"
        return counts if self.serving else f"{counts}   the service does not run: this is how it was"


def _draw(link: Link, company: str, heard: Iterator[Delivery | None]) -> None:
    board = Board()
    drawn_s = 0.0
    with output.live(roster.COLUMNS) as show:
        for delivery in heard:
            if delivery is not None:
                board.take(delivery)
            # A fleet that never rests must not keep the screen from being drawn, nor have it drawn at every message.
            if time.monotonic() - drawn_s >= _DRAW_EVERY_S:
                show(board.rows(wiring.now()), board.caption(company, connected=link.spell is not None))
                drawn_s = time.monotonic()
