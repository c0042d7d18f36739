"""The rules of presence: leases, the merged status of a user, what is announced, and what is true at a moment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.events import ActivityChanged, FellSilent, StatusUpdated, WentOffline, WentOnline
from models.facts import Reason, Status
from models.presence import advance, settle, state
from models.standing import Person, Terms, lease, standing
from tests.unit.people import (
    SECOND,
    START,
    TERMS,
    Life,
    activity,
    heartbeat,
    minute,
    revocation,
    says,
    sign_off,
    will,
)

GRACE = 10 * SECOND
ONLINE, AWAY, OFFLINE = Status.ONLINE, Status.AWAY, Status.OFFLINE


def test_a_user_of_whom_nothing_is_known_is_offline() -> None:
    life = Life()

    assert life.at(0).status is OFFLINE
    assert life.at(0).reason is None
    assert life.wait(100) == []


def test_a_heartbeat_makes_a_user_online() -> None:
    life = Life(heartbeat(0))

    assert life.told == [WentOnline(minute(0), "phone")]
    assert life.status(0) is ONLINE


def test_a_heartbeat_renews_the_lease_and_announces_nothing() -> None:
    life = Life(heartbeat(0))

    assert life.receive(heartbeat(10), heartbeat(20), heartbeat(30)) == []
    assert life.status(44) is ONLINE


@pytest.mark.parametrize(("when", "status"), [(15 - SECOND / 1000, ONLINE), (15, OFFLINE), (15 + SECOND, OFFLINE)])
def test_at_the_boundary_silence_is_over(when: float, status: Status) -> None:
    assert Life(heartbeat(0)).status(when) is status


@pytest.mark.parametrize(("when", "status"), [(5 + GRACE - SECOND, ONLINE), (5 + GRACE, OFFLINE)])
def test_at_the_boundary_the_grace_after_a_will_is_over(when: float, status: Status) -> None:
    assert Life(heartbeat(0), will(5)).status(when) is status


def test_a_sign_off_counts_at_once() -> None:
    life = Life(heartbeat(0))

    assert life.receive(sign_off(5)) == [WentOffline(minute(5), "phone", Reason.SIGNED_OFF)]
    assert life.at(5).reason is Reason.SIGNED_OFF


def test_a_grace_of_nothing_counts_at_once() -> None:
    life = Life(heartbeat(0), terms=Terms(offline_grace=timedelta(0)))

    assert life.receive(will(5)) == [WentOffline(minute(5), "phone", Reason.CONNECTION_LOST)]


def test_a_will_is_announced_when_its_grace_has_passed() -> None:
    life = Life(heartbeat(0))

    assert life.receive(will(5)) == []
    assert life.wait(6) == [WentOffline(minute(5 + GRACE), "phone", Reason.CONNECTION_LOST)]


def test_silence_is_announced_once_with_a_notice_of_the_session() -> None:
    life = Life(heartbeat(0))

    told = life.wait(14, 16, 17, 100)

    assert told == [
        FellSilent(minute(15), "phone", "s1"),
        WentOffline(minute(15), "phone", Reason.STALE_SESSION),
    ]


def test_a_session_that_ended_by_silence_comes_back_with_its_next_heartbeat() -> None:
    life = Life(heartbeat(0))
    life.wait(20)

    assert life.receive(heartbeat(30)) == [WentOnline(minute(30), "phone")]
    assert life.status(44) is ONLINE


@pytest.mark.parametrize("end", [will(5), sign_off(5)])
def test_a_session_that_ended_by_will_or_sign_off_stays_ended(end: object) -> None:
    life = Life(heartbeat(0), end)  # type: ignore[arg-type] # either of two signals
    life.wait(6)

    assert life.receive(heartbeat(7)) == []
    assert life.status(7) is OFFLINE


def test_a_new_session_brings_the_user_back() -> None:
    life = Life(heartbeat(0), sign_off(5))

    assert life.receive(heartbeat(6, "s2")) == [WentOnline(minute(6), "phone")]


def test_two_devices_are_gone_when_both_are() -> None:
    life = Life(heartbeat(0, "a", "phone"), heartbeat(1, "b", "tablet"))

    assert life.receive(sign_off(2, "a", "phone")) == []
    assert life.devices(2) == {"phone": OFFLINE, "tablet": ONLINE}
    assert life.receive(sign_off(3, "b", "tablet")) == [WentOffline(minute(3), "tablet", Reason.SIGNED_OFF)]


def test_the_reason_is_that_of_the_lease_that_ended_last() -> None:
    life = Life(
        heartbeat(0, "a", "phone"), heartbeat(0, "b", "tablet"), sign_off(5.1, "a", "phone"), will(5, "b", "tablet")
    )

    assert life.at(20).reason is Reason.CONNECTION_LOST
    assert life.wait(20)[-1] == WentOffline(minute(5 + GRACE), "tablet", Reason.CONNECTION_LOST)


def test_one_of_two_devices_falls_silent_and_says_so_on_its_topic_only() -> None:
    life = Life(heartbeat(0, "a", "phone"), heartbeat(10, "b", "tablet"))

    assert life.wait(16) == [FellSilent(minute(15), "phone", "a")]
    assert life.devices(16) == {"phone": OFFLINE, "tablet": ONLINE}


def test_a_device_that_was_silent_is_back_in_the_list_at_its_next_heartbeat() -> None:
    life = Life(heartbeat(0, "a", "phone"), heartbeat(10, "b", "tablet"))
    life.wait(16)
    rev = life.person.rev

    life.receive(heartbeat(17, "a", "phone"))

    assert life.person.rev == rev + 1
    assert ("phone", "online") in life.person.announced.devices


def test_two_sessions_of_one_device_are_one_device() -> None:
    life = Life(heartbeat(0, "a"), heartbeat(1, "b"))

    assert life.devices(2) == {"phone": ONLINE}
    assert life.told == [WentOnline(minute(0), "phone")]


def test_the_older_session_of_a_device_holds_nothing() -> None:
    life = Life(heartbeat(0, "a"), heartbeat(1, "b"), heartbeat(2, "a"), sign_off(3, "b"))

    assert life.status(3) is OFFLINE
    assert life.story == ["user:online", "user:offline"]


@pytest.mark.parametrize("gone", [GRACE - SECOND, 0])
def test_reconnecting_within_the_grace_announces_nothing(gone: float) -> None:
    life = Life(heartbeat(0, "a"), will(5, "a"))

    assert life.receive(heartbeat(5 + gone, "b")) == []
    assert life.wait(6, 14) == []


def test_reconnecting_after_the_grace_announces_both() -> None:
    life = Life(heartbeat(0, "a"), will(5, "a"), heartbeat(5 + GRACE, "b"))

    assert life.story == ["user:online", "user:offline", "user:online"]


def test_away_is_the_word_of_the_newest_session() -> None:
    life = Life(heartbeat(0, "a", "phone"), heartbeat(1, "b", "tablet", status=AWAY))

    assert life.status(2) is AWAY
    assert life.devices(2) == {"phone": ONLINE, "tablet": AWAY}
    life.receive(heartbeat(3, "a", "phone", status=AWAY), heartbeat(4, "b", "tablet"))
    assert life.status(5) is ONLINE


def test_away_is_a_change_but_no_coming_or_going() -> None:
    life = Life(heartbeat(0))
    rev = life.person.rev

    assert life.receive(heartbeat(1, status=AWAY)) == []
    assert (life.person.rev, life.person.announced.status, life.person.announced.since) == (rev + 1, AWAY, minute(1))


def test_when_the_newest_session_ends_the_word_of_the_other_counts() -> None:
    life = Life(heartbeat(0, "a", "phone"), heartbeat(1, "b", "tablet", status=AWAY), sign_off(2, "b", "tablet"))

    assert life.status(2) is ONLINE


def test_an_older_word_that_arrives_late_changes_nothing() -> None:
    life = Life(heartbeat(5, at=5, seq=5, status=AWAY), heartbeat(6, at=4, seq=4, status=ONLINE))

    assert life.status(6) is AWAY


def test_a_word_after_repeats_only_is_heard() -> None:
    life = Life(heartbeat(0).repeated())

    life.receive(heartbeat(1, status=AWAY))

    assert life.person.announced.status is AWAY


def test_a_repeated_heartbeat_says_only_that_the_device_lives() -> None:
    life = Life(heartbeat(0, place=(1, 2), battery=50, project="p"))

    life.receive(heartbeat(10, place=(3, 4), battery=40, project="q", status=AWAY).repeated())

    assert life.status(24) is ONLINE
    assert life.at(24).project == "p"
    assert life.at(24).devices[0].battery == 50


def test_a_revocation_ends_all_leases_with_its_reason() -> None:
    life = Life(heartbeat(0, "a", "phone"), heartbeat(1, "b", "tablet"), heartbeat(1, "", "watch"))

    assert life.receive(revocation(5)) == [WentOffline(minute(5), "watch", Reason.TOKEN_REVOKED)]
    assert (life.at(5).status, life.at(5).reason) == (OFFLINE, Reason.TOKEN_REVOKED)
    assert life.story == ["user:online", "user:offline"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_a_sign_off_and_a_revocation_at_one_instant_the_sign_off_counts(order: tuple[int, int]) -> None:
    ends = sign_off(5), revocation(5)
    life = Life(heartbeat(0), *(ends[number] for number in order))

    assert life.at(5).reason is Reason.SIGNED_OFF


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_a_will_without_grace_and_a_sign_off_at_one_instant_the_sign_off_counts(order: tuple[int, int]) -> None:
    ends = sign_off(5), will(5)
    terms = Terms(offline_grace=timedelta(0))
    life = Life(heartbeat(0), *(ends[number] for number in order), terms=terms)

    assert life.at(5).reason is Reason.SIGNED_OFF


def test_a_will_that_names_only_the_device_means_its_current_session() -> None:
    life = Life(heartbeat(0, "a", "phone"), heartbeat(1, "b", "phone"), heartbeat(1, "c", "tablet"))

    life.receive(will(5, None, "phone"))

    assert life.devices(6) == {"phone": OFFLINE, "tablet": ONLINE}


def test_a_will_that_names_nothing_means_all_of_the_users() -> None:
    life = Life(heartbeat(0, "a", "phone"), heartbeat(1, "c", "tablet"), will(5, None, None))

    assert life.wait(6)[-1] == WentOffline(minute(5 + GRACE), "tablet", Reason.CONNECTION_LOST)


def test_a_will_of_an_unknown_device_or_session_touches_nothing() -> None:
    life = Life(heartbeat(0))

    assert life.receive(will(5, "s9"), will(5, None, "watch"), sign_off(5, "s8"), will(5, "", "phone")) == []
    assert life.wait(14) == []


def test_an_end_alone_makes_nobody_appear() -> None:
    life = Life(will(0), sign_off(1, "s2", "tablet"), will(2, None, None))

    assert life.wait(10) == []
    assert life.at(10).devices == ()


def test_a_device_without_sessions_begins_anew_after_its_end() -> None:
    life = Life(heartbeat(0, ""), sign_off(5, ""))

    assert life.receive(heartbeat(6, "")) == [WentOnline(minute(6), "phone")]
    assert life.receive(will(7, "")) == []
    assert life.receive(heartbeat(7 + GRACE / 2, "")) == []
    assert life.wait(10) == []


def test_an_owntracks_will_ends_only_devices_without_sessions() -> None:
    life = Life(heartbeat(0, "", "AA"), heartbeat(0, "s1", "tablet"), will(5, "", None))

    assert life.devices(6) == {"AA": OFFLINE, "tablet": ONLINE}


def test_an_activity_is_set_changed_and_ended() -> None:
    life = Life(heartbeat(0))

    assert life.receive(activity(1, "p1", "t1")) == [ActivityChanged(minute(1), "p1", "t1")]
    assert life.receive(activity(2, "p1", "t1")) == []
    assert life.receive(activity(3, None)) == [ActivityChanged(minute(3), None, None)]


def test_an_older_activity_changes_nothing() -> None:
    life = Life(activity(5, "p2"))

    assert life.receive(activity(6, "p1", at=4)) == []
    assert life.at(6).project == "p2"


def test_a_heartbeat_may_set_the_activity_but_not_end_it() -> None:
    life = Life(heartbeat(0, project="p1"))

    assert life.receive(heartbeat(1)) == []
    assert life.receive(heartbeat(2, project="p2")) == [ActivityChanged(minute(2), "p2", None)]
    assert life.receive(activity(3, None)) == [ActivityChanged(minute(3), None, None)]


def test_an_activity_outlives_the_session() -> None:
    life = Life(heartbeat(0, project="p1"), sign_off(5))

    assert life.at(60).project == "p1"


def test_a_status_text_is_set_changed_and_cleared() -> None:
    life = Life(says(1, "On site"))

    assert life.told == [StatusUpdated(minute(1), "On site")]
    assert life.receive(says(2, None)) == [StatusUpdated(minute(2), None)]
    assert life.receive(says(3, None)) == []


def test_a_status_text_said_again_is_no_news() -> None:
    life = Life(says(1, "On site"))

    assert life.receive(says(5, "On site")) == []
    assert life.at(6).message_updated == minute(1)
    assert life.person.rev == 1


def test_a_status_text_said_again_outlasts_one_said_in_between() -> None:
    life = Life(says(1, "On site"), says(5, "On site"), says(3, "lunch"))

    assert life.at(6).message == "On site"


def test_a_status_text_runs_out_at_its_end() -> None:
    life = Life(says(1, "lunch", until=30))

    assert life.at(30 - SECOND).message == "lunch"
    assert (life.at(30).message, life.at(30).message_updated) == (None, minute(30))
    assert life.wait(31) == [StatusUpdated(minute(30), None)]
    assert life.wait(32) == []


def test_a_status_text_that_comes_after_its_own_end_is_never_shown() -> None:
    life = Life(says(0, None), says(30, "lunch", until=20))

    assert life.told == []
    assert life.receive(heartbeat(0)) == [WentOnline(minute(0), "phone")]
    assert life.at(5).message is None


def test_a_status_text_survives_going_offline() -> None:
    assert Life(heartbeat(0), says(1, "back at five"), sign_off(2)).at(60).message == "back at five"


def test_a_person_is_due_when_the_next_thing_can_happen() -> None:
    life = Life(heartbeat(0))
    assert life.person.due == minute(15)
    life.receive(says(1, "x", until=5))
    assert life.person.due == minute(5)
    life.receive(will(2))
    assert life.person.due == minute(2 + GRACE)
    life.wait(60)
    assert life.person.due is None


def test_before_it_is_due_time_changes_nothing() -> None:
    life = Life(heartbeat(0), heartbeat(5), says(6, "x", until=40))

    assert life.wait(14.9) == []
    assert life.wait(15, 19.9) == []
    assert life.wait(20) != []


def test_the_device_clock_does_not_keep_a_device_alive() -> None:
    life = Life(heartbeat(0, at=1000))

    assert life.status(15) is OFFLINE


def test_last_seen_does_not_go_back() -> None:
    life = Life(heartbeat(10), heartbeat(5), heartbeat(3, "s0"))

    assert life.at(11).devices[0].last_seen == minute(10)


def test_the_state_is_true_when_it_is_read_though_nobody_swept() -> None:
    life = Life(heartbeat(0, place=(1, 2)))

    shown = state("acme", "alice", life.person, minute(20), TERMS)

    assert (shown.status, shown.reason, shown.since) == (OFFLINE, Reason.STALE_SESSION, minute(15))
    assert shown.last_seen == minute(0)
    assert shown.fix is not None


def test_the_state_keeps_since_when_while_a_user_stays() -> None:
    life = Life(heartbeat(0, "a"), heartbeat(10, "b"))

    assert state("acme", "alice", life.person, minute(11), TERMS).since == minute(0)


def test_an_earlier_end_that_arrives_late_corrects_reason_and_time() -> None:
    life = Life(heartbeat(0), will(5))
    life.wait(10)

    assert life.receive(sign_off(4)) == []
    shown = state("acme", "alice", life.person, minute(11), TERMS)
    assert (shown.reason, shown.since) == (Reason.SIGNED_OFF, minute(4))


@pytest.mark.parametrize("late", [heartbeat(3), says(3, "hello"), activity(3, "p"), heartbeat(3).repeated()])
def test_what_arrives_after_the_end_announces_no_return(late: object) -> None:
    life = Life(heartbeat(0), sign_off(5))

    told = life.receive(late)  # type: ignore[arg-type] # any of four signals

    assert not any(isinstance(event, WentOnline | WentOffline) for event in told)
    assert life.story.count("user:online") == 1


def test_what_arrives_late_does_not_bring_back_a_text_that_ran_out() -> None:
    life = Life(says(0, "lunch", until=10))
    life.wait(11)

    assert life.receive(heartbeat(5)) == [WentOnline(minute(10), "phone")]


def test_silence_before_we_listened_does_not_count() -> None:
    life = Life(heartbeat(0))

    life.terms = Terms(listening_since=minute(60))

    assert life.wait(60, 74.9) == []
    assert life.wait(75)[-1] == WentOffline(minute(75), "phone", Reason.STALE_SESSION)


def test_a_lease_found_to_have_lapsed_is_not_revived_by_our_own_deafness() -> None:
    life = Life(heartbeat(0))
    life.wait(20)

    life.terms = Terms(listening_since=minute(60))

    assert life.wait(61) == []
    assert life.status(61) is OFFLINE
    assert life.receive(heartbeat(62)) == [WentOnline(minute(62), "phone")]


def test_an_end_counts_also_while_nobody_listened() -> None:
    life = Life(heartbeat(0), will(5))

    life.terms = Terms(listening_since=minute(60))

    assert life.wait(61) == [WentOffline(minute(5 + GRACE), "phone", Reason.CONNECTION_LOST)]


def test_rules_read_no_clock_and_change_no_argument() -> None:
    person = Person()

    after, _ = advance(person, heartbeat(0), TERMS)
    later, _ = settle(after, minute(60), TERMS)

    assert person == Person()
    assert standing(after, START, TERMS).status is ONLINE
    assert later.announced.status is OFFLINE
    assert lease(after.sessions["phone", "s1"], TERMS) is not None
