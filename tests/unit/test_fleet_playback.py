"""How recorded rows become messages of today."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.fleet.messages import Report
from cli.fleet.playback import LONGEST_GAP_S, Playback, in_order, paced, shift_to, user_id, user_ids, usual_now
from cli.fleet.recording import Row
from models.errors import BadSetting
from models.topics import is_id

NOON = datetime(2022, 1, 3, 12, tzinfo=UTC)
TODAY = datetime(2026, 11, 22, 10, 0, 0, 123_456, tzinfo=UTC)


def row(device: str, after_s: float | None, latitude: float = 1.0, speed: float | None = None) -> Row:
    time = None if after_s is None else NOON + timedelta(seconds=after_s)
    return Row(device, time, Report(latitude, 2.0, speed=speed), (device, str(time), str(latitude), "2.0"))


def played(rows: list[Row], shift: timedelta = timedelta(0)) -> list[dict[str, object]]:
    playback = Playback(rows, "acme", shift, {each.device: f"session-{each.device}" for each in rows})
    return [json.loads(playback.message(index)[1]) for index in range(len(rows))]


@given(st.text(max_size=200))
def test_any_recorded_device_becomes_a_user_of_the_grammar(device: str) -> None:
    assert is_id(user_id(device))
    assert user_id(device) == user_id(device)


@given(st.sets(st.text(alphabet="aB1-_. /é", max_size=6), max_size=50))
def test_different_devices_become_different_users(devices: set[str]) -> None:
    assert len(set(user_ids(devices).values())) == len(devices)


def test_a_device_within_the_grammar_keeps_its_id() -> None:
    assert user_id("368024740") == "368024740"
    assert user_id("gpx1.1_with_all_fields").startswith("gpx1-1_with_all_fields-")


def test_a_crafted_clash_is_refused() -> None:
    with pytest.raises(BadSetting, match="would both be user"):
        user_ids(["a.b", user_id("a.b")])


def test_now_is_the_end_of_the_hour_that_holds_all_but_a_few_strays() -> None:
    times = [NOON + timedelta(seconds=each) for each in range(200)]
    strays = [NOON + timedelta(hours=11)] * 2
    assert usual_now([*times, None, *strays]) == NOON + timedelta(hours=1)
    assert usual_now([NOON]) == NOON + timedelta(hours=1)
    assert usual_now([None]) is None


def test_the_shift_is_whole_milliseconds_and_brings_nothing_into_the_future() -> None:
    shift = shift_to(TODAY, NOON)
    assert shift % timedelta(milliseconds=1) == timedelta(0)
    assert timedelta(0) <= TODAY - (NOON + shift) < timedelta(milliseconds=1)


def test_rows_of_one_recorded_time_keep_equal_times() -> None:
    first, second = played([row("a", 1.2345, 1.0), row("a", 1.2345, 3.0)], shift_to(TODAY, NOON))
    assert first["at"] == second["at"] == "2026-11-22T10:00:01.357500Z"
    assert first["seq"] != second["seq"]


def test_equal_rows_are_one_message_byte_for_byte() -> None:
    rows = [row("a", 1, speed=1.0), row("b", 1), row("a", 1, speed=2.0)]
    playback = Playback(rows, "acme", timedelta(0), {"a": "s", "b": "t"})
    assert playback.different == 2
    assert playback.message(0) == playback.message(2) != playback.message(1)


def test_a_row_without_time_or_position_is_a_heartbeat_without() -> None:
    nothing = Row("a", None, Report(), ("a", "", "", ""))
    assert played([nothing]) == [{"device": "recorder", "session": "session-a", "seq": 0}]


def test_a_time_that_would_leave_the_calendar_is_refused() -> None:
    rows = [Row("a", datetime(9998, 1, 1, tzinfo=UTC), Report(), ("a",))]
    with pytest.raises(BadSetting, match="--now-is"):
        Playback(rows, "acme", shift_to(TODAY, datetime(1999, 1, 1, tzinfo=UTC)), {"a": "s"})


def test_all_rows_of_a_device_stay_in_order_on_one_lane() -> None:
    rows = [row(device, second) for second in range(20) for device in "abcde"]
    playback = Playback(rows, "acme", timedelta(0), dict.fromkeys("abcde", "s"))
    lanes = playback.lanes(in_order(rows), 3)
    assert sorted(cue.row for lane in lanes for cue in lane) == list(range(100))
    for lane in lanes:
        assert all(before.row < after.row for before, after in pairwise(lane))
    assert all(sum(any(rows[cue.row].device == name for cue in lane) for lane in lanes) == 1 for name in "abcde")


def test_a_paced_replay_keeps_the_gaps_divided_by_the_pace() -> None:
    rows = [row("a", 0), row("a", 10), row("a", 30), row("b", 5), row("b", 25)]
    cues = paced(rows, NOON + timedelta(hours=1), 10.0)
    assert [(cue.row, round(cue.due_s, 6)) for cue in cues] == [(0, 0.0), (3, 0.5), (1, 1.0), (4, 2.5), (2, 3.0)]


def test_a_paced_replay_does_not_wait_for_strays() -> None:
    late_future_timeless = [row("a", 0), row("a", 20), row("a", 3), row("a", 90_000), row("a", None), row("a", 30)]
    cues = paced(late_future_timeless, NOON + timedelta(hours=1), 1.0)
    assert [(cue.row, cue.due_s) for cue in cues] == [(0, 0), (1, 20), (2, 20), (3, 20), (4, 20), (5, 30)]


def test_a_paced_replay_shortens_gaps_in_which_nobody_speaks() -> None:
    assert paced([row("a", 0), row("b", 50_000)], None, 2.0)[1].due_s == LONGEST_GAP_S / 2


def test_a_recording_without_times_is_played_at_once() -> None:
    assert [cue.due_s for cue in paced([row("a", None), row("b", None)], None, 1.0)] == [0, 0]
