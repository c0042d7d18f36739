"""Several workers share the load over MQTT 5 on Mosquitto and PostgreSQL: the same end as with one, and one sweeper at a time."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.acceptance.field import until
from tests.acceptance.persistent import Message
from tests.acceptance.production import Site, caught_up, site
from tests.integration.store_lab import SESSIONS, rfc3339

USERS = ("alice", "bob", "carol")
_BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
_SEQS = 120


def _presence(**fields: object) -> Message:
    return "presence", json.dumps(fields).encode()


def _said_by(user: str) -> list[Message]:
    """Return the messages of USER in order: two devices, three sessions each, the last of which is signed off but for alice's.

    What has no time of its own counts by its receipt, so of that there is one of a kind.
    """
    said: list[Message] = [("status", json.dumps({"message": f"{user} is on site"}).encode())]
    for seq in range(_SEQS):
        at = rfc3339(_BEGAN + timedelta(seconds=seq))
        device = ("phone", "tablet")[seq % 2]
        session = SESSIONS[seq * 3 // _SEQS + (3 if seq % 2 else 0)]
        # Whose word counts is a matter of which device was heard first: in the end both say the same.
        word = "away" if seq % 7 == 0 or seq >= _SEQS - 2 else "online"
        place = {"latitude": seq / 1000, "longitude": 2.5, "battery": seq % 100}
        # Every fifth has no `seq`: it is told from others by its bytes.
        named = {} if seq % 5 == 0 else {"seq": seq}
        said.append(_presence(device=device, session=session, at=at, status=word, **place, **named))
        if seq % 10 == 0:
            said.append(("activity", json.dumps({"projectId": f"p{seq % 3}", "taskId": f"t{seq}", "at": at}).encode()))
        if seq % 20 == 0:
            said.append(("presence", b'{"latitude": "north"}%d' % seq))
    if user != "alice":
        last = (("phone", SESSIONS[2]), ("tablet", SESSIONS[5]))
        said += [
            _presence(type="offline", reason="signed_off", device=device, session=session) for device, session in last
        ]
    return said


def _send_all(place: Site, said: dict[str, list[Message]]) -> None:
    """Let all users speak at the same time, and return when everything is acknowledged."""
    threads = [threading.Thread(target=place.send, args=(user, messages), name=user) for user, messages in said.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    caught_up(
        place, lambda: [(f"company/acme/{channel}/{user}", payload) for user in said for channel, payload in said[user]]
    )


def _found(place: Site) -> dict[str, Any]:
    worked = place.field.ask("activity", "--company", "acme", "--user", "bob")
    tables = ("history", "activity_log", "status_log")
    return {
        "states": place.states(),
        "track": place.track("alice"),
        "activity": [(item["projectId"], item["taskId"]) for item in worked],
        "counts": [place.count(table) for table in tables],
    }


def _disorder(messages: Sequence[Message], dice: random.Random) -> list[Message]:
    """Return MESSAGES in any order, a third of them twice."""
    mixed = [*messages, *dice.sample(messages, len(messages) // 3)]
    dice.shuffle(mixed)
    return mixed


def test_any_number_of_workers_ends_in_the_same_state_and_history(tmp_path: Path) -> None:
    dice = random.Random(7)
    said = {user: _said_by(user) for user in USERS}
    with site(tmp_path, stale_after="86400") as place:
        place.use_database("one")
        place.start_ingest()
        _send_all(place, said)
        place.field.stop("ingest")
        of_one = _found(place)

        place.use_database("several")
        place.tap.acknowledged.clear()
        place.start_ingest("--workers", "2", name="two", processes=2)
        place.start_ingest("--workers", "1", "--number", "3", name="third")
        _send_all(place, {user: _disorder(messages, dice) for user, messages in said.items()})
        assert place.field.stop("two") == 0
        assert place.field.stop("third") == 0
        of_several = _found(place)
    assert of_several == of_one
    assert len(of_one["track"]) == _SEQS
    assert [of_one["states"][user]["status"] for user in USERS] == ["away", "offline", "offline"]


def _offline_events(place: Site) -> list[str]:
    told = place.field.run("events", "--company", "acme", "--json").stdout.splitlines()
    events = [json.loads(line) for line in told]
    return [event["userId"] for event in events if event["type"] == "user:offline"]


def test_one_worker_sweeps_and_when_it_is_killed_another_takes_over(tmp_path: Path) -> None:
    with site(tmp_path, stale_after="3", sweep_interval="0.5") as place:

        def has_swept(name: str) -> bool:
            return "swept" in (place.field.home / f"{name}.log").read_text("utf-8")

        def fall_silent(user: str) -> None:
            said = _presence(device="phone", session=SESSIONS[0])
            place.send(user, [said])
            caught_up(place, lambda: [(f"company/acme/presence/{user}", said[1])])

        place.start_ingest("--workers", "1", "--number", "1", name="first")
        fall_silent("alice")
        until(lambda: has_swept("first"), "alice is swept")
        place.start_ingest("--workers", "1", "--number", "2", name="second")
        fall_silent("bob")
        until(lambda: sorted(_offline_events(place)) == ["alice", "bob"], "bob is swept")
        assert not has_swept("second")
        fall_silent("carol")
        place.field.stop("first", signal.SIGKILL)
        until(lambda: has_swept("second"), "the other worker takes the sweep over")
        assert sorted(_offline_events(place)) == ["alice", "bob", "carol"]
        place.field.stop("second")
