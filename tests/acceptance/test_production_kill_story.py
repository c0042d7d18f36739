"""Worker, Mosquitto and PostgreSQL are killed in turn under load: what the worker acknowledged is there, once, and means the same."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.field import until
from tests.acceptance.persistent import Message, Persistent
from tests.acceptance.production import Site, caught_up, site
from tests.acceptance.tap import Told

USERS = tuple(f"user{number}" for number in range(6))
KILLS = 20
PACE_S = 0.02
_BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
_SAVED_AFTER_S = 2.5
"""The broker looks at the clock for its autosave, and saves, about every two seconds when told one."""
_QUEUE = ("max_queued_messages 0", "max_inflight_messages 10000", "autosave_interval 1")


def _said(seq: int) -> Message:
    """Return what every device says as its message SEQ: heartbeats of two devices, now and then an activity, one status text."""
    at = (_BEGAN + timedelta(milliseconds=100 * seq)).isoformat().replace("+00:00", "Z")
    if seq == 3:
        return "status", b'{"message":"On site until five"}'
    if seq % 10 == 7:
        return "activity", json.dumps({"projectId": f"p{seq % 3}", "taskId": f"t{seq}", "at": at}).encode()
    device = f"d{seq % 2}"
    beat = {"device": device, "session": f"s-{device}", "seq": seq, "at": at, "battery": seq % 100}
    beat |= {"latitude": seq / 100_000, "longitude": 2.5, "status": "away" if seq % 7 == 0 else "online"}
    return "presence", json.dumps(beat).encode()


def _goodbye(user: str) -> list[Message]:
    """Return what USER says at the end: every second one signs off on both devices, the others stay."""
    kind = (
        {"type": "offline", "reason": "signed_off"} if USERS.index(user) % 2 else {"status": "online", "seq": 1_000_000}
    )
    return [
        ("presence", json.dumps({"device": device, "session": f"s-{device}"} | kind).encode())
        for device in ("d0", "d1")
    ]


def _on_the_wire(user: str, messages: list[Message]) -> list[Told]:
    return [(f"company/acme/{channel}/{user}", payload) for channel, payload in messages]


def _kills(place: Site) -> tuple[Callable[[], None], ...]:
    def worker() -> None:
        place.field.stop("ingest", signal.SIGKILL)
        place.start_ingest()

    def broker() -> None:
        place.broker.kill()
        place.broker.start()

    def database() -> None:
        place.database.kill()
        place.database.start()

    return worker, broker, database


def _flows(place: Site) -> None:
    before = len(place.tap.acknowledged)
    until(lambda: len(place.tap.acknowledged) > before + 20, "the ingest acknowledges again", 30)


def _disturbed(place: Site) -> tuple[dict[str, list[Message]], int]:
    """Run the fleet through all the kills; return what each user said, and how much of it Mosquitto lost."""
    dice = random.Random(11)
    place.start_ingest()
    devices = {user: Persistent(place.field, user, _said, clean=False, pace_s=PACE_S) for user in USERS}
    kills = _kills(place)
    for number in range(KILLS):
        _flows(place)
        time.sleep(dice.uniform(0.0, 0.3))  # somewhere between two commits
        kills[number % len(kills)]()
    _flows(place)
    for device in devices.values():
        device.finish()
    said: dict[str, list[Message]] = {}
    for user, device in devices.items():
        assert device.acked == set(range(len(device.acked)))
        said[user] = [_said(seq) for seq in sorted(device.acked)]
        place.send(user, _goodbye(user))
    # The queue keeps its order: whatever is still to come has come when the last messages have.
    caught_up(place, lambda: [told for user in USERS for told in _on_the_wire(user, _goodbye(user))])
    lost = 0
    for user in USERS:
        told = zip(said[user], _on_the_wire(user, said[user]), strict=True)
        again = [message for message, wire in told if wire not in place.tap.acknowledged]
        lost += len(again)
        place.send(user, again)
    caught_up(place, lambda: [told for user in USERS for told in _on_the_wire(user, said[user])])
    place.field.stop("ingest")
    return said, lost


def _undisturbed(place: Site, said: dict[str, list[Message]]) -> None:
    """Send the same again, to an empty database and with nobody killed."""
    place.tap.acknowledged.clear()
    place.start_ingest()
    for user in USERS:
        place.send(user, [*said[user], *_goodbye(user)])
    caught_up(place, lambda: [told for user in USERS for told in _on_the_wire(user, [*said[user], *_goodbye(user)])])
    place.field.stop("ingest")


def _found(place: Site) -> tuple[object, ...]:
    """Return the roster, two of the tracks, and how much there is of what."""
    counts = [place.count(table) for table in ("history", "activity_log", "status_log", "rejected")]
    return place.states(), place.track(USERS[0]), counts


@pytest.mark.timeout(300)
def test_nothing_that_the_worker_acknowledged_is_missing_after_twenty_kills(tmp_path: Path) -> None:
    with site(tmp_path, *_QUEUE, users=USERS, stale_after="86400") as place:
        place.use_database("disturbed")
        said, lost = _disturbed(place)
        disturbed = _found(place)
        place.use_database("undisturbed")
        _undisturbed(place, said)
        assert disturbed == _found(place)

        beats = [sum(channel == "presence" for channel, _ in said[user]) for user in USERS]
        assert place.count("history") == sum(beats) + 2 * len(USERS)
        assert place.count("rejected") == 0
        reasons = [(state["status"], state["reason"]) for _, state in sorted(place.states().items())]
        assert reasons == [("online", None), ("offline", "signed_off")] * (len(USERS) // 2)
        # Mosquitto forgets what it took since it last saved its queue: each of its crashes may cost that much, and no more.
        kills_of_mosquitto = len(range(1, KILLS, 3))
        at_most = kills_of_mosquitto * _SAVED_AFTER_S * len(USERS) / PACE_S
        assert lost < at_most
