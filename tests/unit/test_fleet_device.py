"""How virtual devices behave, over hours that take no time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

from broker.link import Delivery
from cli.fleet.device import Abort, Action, Connect, Habits, Hide, Leave, Phase, Reappear, Say, VirtualDevice
from cli.fleet.messages import Identity
from cli.fleet.route import TOWNS, Route
from ingest.decode import Decoded, decode
from models.succession import minted
from models.topics import Channel

EPOCH = datetime(2026, 11, 22, 10, tzinfo=UTC)
NEVER_S = 1e9
QUIET = Habits(
    dead_zone_every_s=NEVER_S,
    abort_every_s=NEVER_S,
    break_every_s=NEVER_S,
    activity_every_s=NEVER_S,
    status_every_s=NEVER_S,
)
ROOM = 1_000


class Done(NamedTuple):
    """What a device did, and when."""

    at_s: float
    action: Action


def device(seed: int = 1, habits: Habits | None = None) -> VirtualDevice:
    rng = Random(seed)
    return VirtualDevice(
        Identity("acme", "alice", "phone"), Route(rng, TOWNS["Bengaluru"]), rng, habits or Habits(), EPOCH
    )


def drive(driven: VirtualDevice, until_s: float, room: int = ROOM) -> Iterator[Done]:
    """Yield what DRIVEN does on a network that takes every connection at once."""
    while (now_s := driven.due_s) <= until_s:
        for action in driven.tick(now_s, room):
            yield Done(now_s, action)
            if isinstance(action, Connect):
                driven.opened(now_s)


def said(done: list[Done], channel: Channel = Channel.PRESENCE) -> list[dict[str, Any]]:
    return [
        json.loads(each.action.payload)
        for each in done
        if isinstance(each.action, Say) and each.action.channel is channel
    ]


def test_a_shift_holds_everything_that_devices_do() -> None:
    done = list(drive(device(), 8 * 3600))
    kinds = {type(each.action) for each in done}
    assert kinds == {Connect, Say, Abort, Leave, Hide, Reappear}
    assert {each.action.channel for each in done if isinstance(each.action, Say)} == {
        Channel.PRESENCE,
        Channel.ACTIVITY,
        Channel.STATUS,
    }


def test_every_message_is_one_that_the_service_understands() -> None:
    driven = device()
    topic = driven.identity.topic
    for at_s, action in drive(driven, 3600):
        if isinstance(action, Say):
            received = EPOCH + timedelta(seconds=at_s)
            assert isinstance(decode(Delivery(topic(action.channel), action.payload, received, lambda: None)), Decoded)


def test_every_connect_has_a_fresh_session_which_its_will_and_all_its_messages_name() -> None:
    sessions: list[str] = []
    seqs: list[int] = []
    for at_s, action in drive(device(), 6 * 3600):
        match action:
            case Connect(will):
                sessions.append(json.loads(will)["session"])
                assert minted(sessions[-1]) is not None
                seqs = []
            case Say(Channel.PRESENCE, payload):
                message = json.loads(payload)
                assert message["session"] == sessions[-1]
                seqs.append(message["seq"])
                assert seqs == list(range(len(seqs))), at_s
    assert len(sessions) == len(set(sessions)) > 10


def test_a_device_in_a_dead_zone_says_nothing_and_sends_late_what_it_kept() -> None:
    hidden_since_s: float | None = None
    late: list[float] = []
    for at_s, action in drive(device(), 6 * 3600):
        match action:
            case Hide():
                hidden_since_s = at_s
            case Reappear():
                assert hidden_since_s is not None
                assert 5 <= at_s - hidden_since_s <= 45
                hidden_since_s = None
            case Say(Channel.PRESENCE, payload, is_late):
                assert hidden_since_s is None
                if is_late:
                    age = EPOCH + timedelta(seconds=at_s) - datetime.fromisoformat(json.loads(payload)["at"])
                    late.append(age.total_seconds())
    assert late
    assert min(late) >= 5


def test_no_point_is_missing_but_those_of_breaks() -> None:
    habits = Habits(break_every_s=1e9)
    beats = [message for message in said(list(drive(device(habits=habits), 3600))) if message.get("type") is None]
    times = sorted(datetime.fromisoformat(beat["at"]) for beat in beats)
    assert {round((later - earlier).total_seconds()) for earlier, later in pairwise(times[1:])} == {5}


def test_a_device_leaves_with_a_sign_off_and_breaks_without_a_word() -> None:
    done = [each.action for each in drive(device(), 6 * 3600)]
    for before, action in pairwise(done):
        if isinstance(action, Leave):
            assert isinstance(before, Say)
            assert json.loads(before.payload)["reason"] == "signed_off"
        if isinstance(before, Abort | Leave):
            assert isinstance(action, Connect)


def test_a_lost_connection_is_opened_again() -> None:
    driven = device(habits=QUIET)
    list(drive(driven, 60))
    driven.lost(60)
    assert driven.phase is Phase.WAITING
    assert 61 <= driven.due_s <= 65
    actions = [each.action for each in drive(driven, 90)]
    assert isinstance(actions[0], Connect)


def test_a_device_keeps_what_its_connection_has_no_room_for() -> None:
    driven = device(habits=QUIET)
    assert said(list(drive(driven, 60, room=0))) == []
    kept = said(list(drive(driven, 61)))
    assert len(kept) == 13
    assert [message["seq"] for message in kept] == list(range(13))


def test_a_farewell_says_what_was_kept_and_signs_off() -> None:
    driven = device(habits=replace(QUIET, dead_zone_every_s=1.0))
    while driven.phase is not Phase.HIDDEN:
        list(drive(driven, driven.due_s))
    actions = list(driven.farewell(driven.due_s, ROOM))
    assert isinstance(actions[0], Reappear)
    assert isinstance(actions[-1], Leave)
    assert [json.loads(each.payload).get("reason") for each in actions if isinstance(each, Say)][-1] == "signed_off"
    assert list(drive(driven, 1e9)) == []


def test_the_battery_drains() -> None:
    levels = [message["battery"] for message in said(list(drive(device(habits=QUIET), 3600)))]
    assert all(before - after in (0, 1) for before, after in pairwise(levels))
    assert 10 <= levels[0] - levels[-1] <= 20


def test_the_same_seed_says_the_same_bytes() -> None:
    first, again, other = (list(drive(device(seed), 3600)) for seed in (5, 5, 6))
    assert first == again
    assert first != other
