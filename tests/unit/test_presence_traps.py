"""The known traps of presence over MQTT, each as the story that springs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from broker.link import Delivery
from ingest.decode import Decoded, Ignored, decode
from models.events import FellSilent, WentOffline, WentOnline
from models.facts import Reason, Signal, Status
from models.standing import Terms
from tests.unit.people import SECOND, START, Life, heartbeat, minute, says, sign_off, will
from tests.unit.session_ids import ulid

GRACE = 10 * SECOND
ONLINE, OFFLINE = Status.ONLINE, Status.OFFLINE
IDS = pytest.mark.parametrize(
    ("old", "new"),
    [("s1", "s2"), ("s2", "s1"), (ulid(minute(-2)), ulid(minute(-1)))],
    ids=["plain", "reversed", "ulid"],
)


def said(when: float, payload: str, *, topic: str = "presence", retained: bool = False) -> Signal:
    """Return what the device said with PAYLOAD, received at minute WHEN."""
    outcome = decode(Delivery(f"company/acme/{topic}/alice", payload.encode(), minute(when), lambda: None, retained))
    assert isinstance(outcome, Decoded)
    return outcome.signal


@IDS
def test_the_will_of_the_old_connection_arrives_after_the_birth_of_the_new_one(old: str, new: str) -> None:
    life = Life(heartbeat(0, old), heartbeat(5, new))

    assert life.receive(will(5.5, old)) == []
    assert life.wait(6, 14, 19) == []


@IDS
def test_the_will_of_a_connection_of_which_we_heard_nothing_else_touches_no_other(old: str, new: str) -> None:
    life = Life(heartbeat(0, new))

    assert life.receive(will(1, old), sign_off(2, old)) == []
    assert life.wait(3) == []
    assert life.status(14) is ONLINE


@IDS
def test_the_will_of_the_old_connection_arrives_just_before_the_birth_of_the_new_one(old: str, new: str) -> None:
    life = Life(heartbeat(0, old), will(5, old))

    assert life.receive(heartbeat(5 + SECOND, new)) == []
    assert life.wait(6, 14) == []


def test_a_broker_publishes_the_new_will_before_the_new_birth_and_again_after_it() -> None:
    life = Life(heartbeat(0, "s1"), will(5, "s2"), heartbeat(5, "s2"), will(5 + SECOND, "s2"))

    assert life.receive(heartbeat(5 + 3 * SECOND, "s3")) == []
    assert life.wait(6, 14) == []


def test_the_same_will_is_delivered_again_after_a_restart_of_the_broker() -> None:
    life = Life(heartbeat(0, "s1"), will(5, "s1"), heartbeat(6, "s2"))

    assert life.receive(will(7, "s1"), will(8, "s1")) == []
    assert life.status(20) is ONLINE


def test_nothing_follows_from_there_being_no_will_at_a_takeover() -> None:
    life = Life(heartbeat(0, "s1"), heartbeat(5, "s2"))

    assert life.story == ["user:online"]
    assert life.receive(sign_off(6, "s2")) == [WentOffline(minute(6), "phone", Reason.SIGNED_OFF)]


@pytest.mark.parametrize("payload", [b'{"type":"offline","device":"phone","session":"s1"}', b"{}", b'{"session":"s9"}'])
def test_a_retained_message_says_nothing(payload: bytes) -> None:
    outcome = decode(Delivery("company/acme/presence/alice", payload, START, lambda: None, retained=True))

    assert isinstance(outcome, Ignored)


def test_a_will_counts_from_its_receipt_whatever_time_it_names() -> None:
    life = Life(heartbeat(0))

    life.receive(said(5, '{"type":"offline","device":"phone","session":"s1","at":"2026-11-22T01:00:00Z"}'))

    assert life.wait(6) == [WentOffline(minute(5 + GRACE), "phone", Reason.CONNECTION_LOST)]


def test_an_owntracks_will_that_is_hours_old_by_its_text_counts() -> None:
    life = Life(said(0, '{"_type":"location","lat":1,"lon":2,"tst":1795341600,"tid":"AA"}'))

    life.receive(said(5, '{"_type":"lwt","tst":"1795309800"}'))

    assert life.wait(6) == [WentOffline(minute(5 + GRACE), "AA", Reason.CONNECTION_LOST)]


def test_buffered_points_do_not_move_the_position_back() -> None:
    life = Life(heartbeat(60, place=(5, 5)))

    life.receive(*(heartbeat(60 + SECOND, at=at, place=(at, at)) for at in range(0, 60, 10)))

    fix = life.person.sessions["phone", "s1"].fix
    assert fix is not None
    assert (fix.latitude, fix.stamp.at) == (5, minute(60))


def test_buffered_points_in_any_order_leave_the_newest() -> None:
    for order in ((1, 3, 2), (3, 2, 1), (2, 1, 3)):
        life = Life(*(heartbeat(60, at=at, place=(at, 0)) for at in order))
        fix = life.person.sessions["phone", "s1"].fix
        assert fix is not None
        assert fix.latitude == 3


def test_of_two_points_of_one_instant_the_greater_seq_counts_and_then_the_content() -> None:
    pair = heartbeat(1, at=0, seq=2, place=(1, 1)), heartbeat(1, at=0, seq=1, place=(9, 9))
    tied = heartbeat(1, at=0, seq=2, place=(1, 0)), heartbeat(1, at=0, seq=2, place=(1, 1))

    for first, second in ((*pair,), (*reversed(pair),), (*tied,), (*reversed(tied),)):
        fix = Life(first, second).person.sessions["phone", "s1"].fix
        assert fix is not None
        assert (fix.latitude, fix.longitude) == (1, 1)


@pytest.mark.parametrize("year", [1999, 2037])
def test_a_device_with_a_wrong_clock_is_online_and_freezes_nothing(year: int) -> None:
    wrong = f'{{"device":"phone","session":"s1","at":"{year}-01-01T00:00:00Z","latitude":9,"longitude":9}}'
    right = '{"device":"phone","session":"s1","at":"2026-11-22T10:01:00Z","latitude":1,"longitude":1}'
    life = Life(said(0, wrong), said(1, right), said(2, wrong))

    assert life.status(16) is ONLINE
    fix = life.person.sessions["phone", "s1"].fix
    assert fix is not None
    assert (fix.latitude, fix.stamp.at) == (1, minute(1))


@pytest.mark.parametrize("year", [1999, 2037])
def test_a_device_whose_clock_jumps_back_to_a_wrong_year_still_supersedes_itself(year: int) -> None:
    wrong = ulid(datetime(year, 1, 1, tzinfo=UTC))
    life = Life(heartbeat(0, ulid(START)), heartbeat(5, wrong))

    assert life.receive(will(6, ulid(START))) == []
    assert life.wait(10) == []
    assert life.receive(sign_off(11, wrong)) == [WentOffline(minute(11), "phone", Reason.SIGNED_OFF)]


def test_a_backlog_makes_alive_only_those_who_were_not_ended() -> None:
    life = Life(heartbeat(60, "s1"), will(60, "s1"), heartbeat(60 + SECOND, "s1"))

    assert life.wait(61) == [WentOffline(minute(60 + GRACE), "phone", Reason.CONNECTION_LOST)]


def test_a_restart_of_the_broker_publishes_every_will_and_everybody_returns_within_the_grace() -> None:
    fleet = [Life(heartbeat(0, "s1", f"d{number}")) for number in range(20)]

    for number, life in enumerate(fleet):
        life.receive(will(5, "s1", f"d{number}"), heartbeat(5 + 9 * SECOND, "s2", f"d{number}"))
        life.wait(6)

    assert all(life.story == ["user:online"] for life in fleet)


def test_a_repeated_message_announces_nothing_twice() -> None:
    signals = heartbeat(0), says(1, "On site"), will(5), heartbeat(6, "s2"), sign_off(7, "s2")
    life = Life(*signals)
    told = list(life.told)

    assert life.receive(*signals, *reversed(signals)) == []
    assert life.told == told


def test_workers_that_overtake_each_other_agree() -> None:
    one = Life(heartbeat(0, "s1"), will(5, "s1"), heartbeat(5 + SECOND, "s2"))
    other = Life(heartbeat(5 + SECOND, "s2"), will(5, "s1"), heartbeat(0, "s1"))

    assert one.at(10) == other.at(10)
    assert other.story == ["user:online"]


def test_two_devices_on_one_topic_do_not_end_each_other() -> None:
    life = Life(heartbeat(0, "a", "phone"), heartbeat(1, "b", "tablet"))

    assert life.receive(will(2, "a", "phone")) == []
    assert life.wait(3) == []
    assert life.devices(3) == {"phone": OFFLINE, "tablet": ONLINE}
    assert life.receive(sign_off(4, "b", "tablet")) == [WentOffline(minute(4), "tablet", Reason.SIGNED_OFF)]


def test_two_devices_may_use_the_same_session_id() -> None:
    life = Life(heartbeat(0, "s", "phone"), heartbeat(1, "s", "tablet"), sign_off(2, "s", "phone"))

    assert life.devices(2) == {"phone": OFFLINE, "tablet": ONLINE}


def test_flapping_inside_the_grace_is_silent() -> None:
    life = Life(heartbeat(0, "s0"))

    for number in range(1, 30):
        life.receive(will(number, f"s{number - 1}"), heartbeat(number + GRACE / 2, f"s{number}"))
        life.wait(number + 0.5)

    assert life.story == ["user:online"]


def test_flapping_outside_the_grace_is_told_each_time() -> None:
    life = Life()

    for number in range(3):
        life.receive(heartbeat(number, f"s{number}"), will(number + 0.25, f"s{number}"))
        life.wait(number + 0.75)

    assert life.story == ["user:online", "user:offline"] * 3


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-0.001, 0), (0, 2), (0.001, 2)],
)
def test_at_the_boundary_exactly_a_silent_session_is_over(seconds: float, told: int) -> None:
    life = Life(heartbeat(0))

    assert len(life.wait(15 + seconds * SECOND)) == told


def test_a_heartbeat_at_the_very_end_of_the_grace_comes_too_late() -> None:
    life = Life(heartbeat(0, "s1"), will(5, "s1"))

    assert life.receive(heartbeat(5 + GRACE, "s2")) == [
        WentOffline(minute(5 + GRACE), "phone", Reason.CONNECTION_LOST),
        WentOnline(minute(5 + GRACE), "phone"),
    ]


def test_a_late_sweep_tells_when_it_happened_not_when_it_looked() -> None:
    life = Life(heartbeat(0))

    assert life.wait(19) == [
        FellSilent(minute(15), "phone", "s1"),
        WentOffline(minute(15), "phone", Reason.STALE_SESSION),
    ]


def test_no_sweep_is_needed_to_read_the_truth() -> None:
    life = Life(heartbeat(0))

    assert (life.at(15).status, life.at(15).reason, life.at(15).since) == (OFFLINE, Reason.STALE_SESSION, minute(15))


def test_an_outage_of_ours_puts_nobody_offline() -> None:
    fleet = [Life(heartbeat(number / 10)) for number in range(50)]

    for life in fleet:
        life.terms = Terms(listening_since=minute(120))
        assert life.wait(120, 121, 134) == []
        assert life.receive(heartbeat(134.5)) == []
        assert life.wait(149) == []


def test_after_an_outage_of_ours_the_silent_are_found_after_a_full_term() -> None:
    life = Life(heartbeat(0), terms=Terms(listening_since=minute(-60)))
    life.terms = Terms(listening_since=minute(120))

    assert life.wait(135)[-1] == WentOffline(minute(135), "phone", Reason.STALE_SESSION)


def test_who_was_offline_before_an_outage_of_ours_stays_so() -> None:
    life = Life(heartbeat(0))
    life.wait(16)

    life.terms = Terms(listening_since=minute(120))

    assert life.status(121) is OFFLINE
    assert life.wait(121, 200) == []


def test_a_will_without_session_ends_the_current_one_only() -> None:
    life = Life(heartbeat(0, "s1"), heartbeat(1, "s2"), heartbeat(1, "t1", "tablet"))

    life.receive(said(5, '{"type":"offline","device":"phone"}'))

    assert life.wait(6) == []
    assert life.devices(6) == {"phone": OFFLINE, "tablet": ONLINE}
    assert life.receive(heartbeat(7, "s3")) == []


def test_a_will_without_session_means_the_session_that_is_heard_not_one_of_which_only_the_will_is_known() -> None:
    life = Life(heartbeat(0, "s1"), will(1, "s0"), will(5, None))

    assert life.status(6) is OFFLINE


def test_a_will_without_device_ends_all() -> None:
    life = Life(heartbeat(0, "s1"), heartbeat(1, "t1", "tablet"))

    life.receive(said(5, '{"type":"offline"}'))

    assert life.wait(6)[-1] == WentOffline(minute(5 + GRACE), "tablet", Reason.CONNECTION_LOST)


@pytest.mark.parametrize("later", [0, SECOND, 1])
def test_a_sign_off_followed_by_a_will_was_a_sign_off(later: float) -> None:
    life = Life(heartbeat(0), sign_off(5), will(5 + later))

    assert life.wait(10) == []
    assert life.told[-1] == WentOffline(minute(5), "phone", Reason.SIGNED_OFF)
    assert life.at(10).reason is Reason.SIGNED_OFF


def test_a_will_overtaken_by_its_sign_off_within_the_grace_is_a_sign_off() -> None:
    life = Life(heartbeat(0), will(5), sign_off(5 + GRACE / 2))

    assert life.told[-1] == WentOffline(minute(5 + GRACE / 2), "phone", Reason.SIGNED_OFF)


def test_a_sign_off_that_arrives_before_its_heartbeat_ends_it() -> None:
    life = Life(sign_off(5), heartbeat(6))

    assert life.status(6) is OFFLINE
    assert life.story == []


def test_keepalive_is_no_sign_of_life_only_heartbeats_are() -> None:
    life = Life(heartbeat(0), says(10, "still here"), will(14, "s0"))

    assert life.status(15) is OFFLINE


def test_a_jump_of_our_own_clock_back_ends_nobody_and_repeats_nothing() -> None:
    life = Life(heartbeat(60))

    assert life.receive(heartbeat(0), heartbeat(1)) == []
    assert life.wait(2) == []
    assert life.status(74) is ONLINE


def test_a_reader_whose_clock_is_behind_sees_what_was_announced() -> None:
    life = Life(heartbeat(0), sign_off(60), says(61, "home", until=62))
    life.wait(63)

    assert life.status(59) is OFFLINE
    assert life.at(59).message is None
    assert life.wait(59) == []


def test_seconds_do_not_get_lost() -> None:
    life = Life(heartbeat(0), terms=Terms(stale_after=timedelta(seconds=0.5), offline_grace=timedelta(microseconds=1)))

    life.receive(will(0.001))

    assert life.status(0.001) is ONLINE
    assert life.wait(0.002) == [WentOffline(minute(0.001) + timedelta(microseconds=1), "phone", Reason.CONNECTION_LOST)]
