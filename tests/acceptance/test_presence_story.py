"""The main job, told through the real command with Debian's MQTT clients as devices and dashboards."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.field import Field, new_field, until


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    with new_field(tmp_path, offline_grace="1", stale_after="4", sweep_interval="0.2", state_interval="0.5") as made:
        made.start("up")
        yield made


def test_it_is_ready_within_three_seconds(tmp_path: Path) -> None:
    with new_field(tmp_path) as field:
        began = time.monotonic()
        field.start("up")
        assert time.monotonic() - began < 3 * _slowness()


def _slowness() -> float:
    """Return how much slower than a calm machine this one is now, at least 1."""
    began = time.perf_counter()
    sum(range(3_000_000))
    return max(1.0, (time.perf_counter() - began) / 0.06)


def test_a_heartbeat_puts_a_user_on_the_roster(field: Field) -> None:
    dashboard = field.listen()
    field.publish(
        "alice", {"device": "tablet-7", "session": "s1", "latitude": 12.9716, "longitude": 77.5946, "battery": 80}
    )
    until(lambda: dashboard.of("state", "alice"), "the state is announced")
    alice = field.who()["alice"]
    assert (alice["status"], alice["lastLatitude"], alice["lastLongitude"]) == ("online", 12.9716, 77.5946)
    assert alice["devices"][0]["battery"] == 80
    assert [event["type"] for event in dashboard.of("events", "alice")] == ["user:online"]


def test_a_killed_connection_is_seen_at_once_and_offline_after_the_grace(field: Field) -> None:
    dashboard = field.listen()
    field.publish("alice", {"device": "tablet", "session": "s1"})
    client = field.connect("alice", {"type": "offline", "device": "tablet", "session": "s1"})
    until(lambda: dashboard.of("events", "alice"), "alice is announced")
    client.kill()
    until(lambda: len(dashboard.of("presence", "alice")) == 2, "the will is seen", 2)
    assert not dashboard.of("events", "alice")[1:]
    [_, offline] = until(lambda: (found := dashboard.of("events", "alice"))[1:] and found, "alice is announced as gone")
    assert (offline["type"], offline["reason"], offline["device"]) == ("user:offline", "connection_lost", "tablet")
    assert field.who()["alice"]["reason"] == "connection_lost"


def test_reconnecting_within_the_grace_announces_nothing(tmp_path: Path) -> None:
    with new_field(tmp_path, offline_grace="3", sweep_interval="0.2") as field:
        field.start("up")
        dashboard = field.listen("company/acme/events/+")
        field.publish("alice", {"device": "tablet", "session": "s1"})
        field.publish("alice", {"type": "offline", "device": "tablet", "session": "s1"})
        field.publish("alice", {"device": "tablet", "session": "s2"})
        field.publish("bob", {"device": "phone"})
        field.publish("bob", {"type": "offline", "device": "phone"})
        until(lambda: len(dashboard.of("events", "bob")) == 2, "bob's grace is over")
        assert [event["type"] for event in dashboard.of("events", "alice")] == ["user:online"]


def test_a_sign_off_is_offline_at_once_and_a_later_will_changes_nothing(field: Field) -> None:
    dashboard = field.listen()
    field.publish("alice", {"device": "tablet", "session": "s1"})
    field.publish("alice", {"type": "offline", "device": "tablet", "session": "s1", "reason": "signed_off"})
    field.publish("alice", {"type": "offline", "device": "tablet", "session": "s1"})
    events = until(lambda: (found := dashboard.of("events", "alice"))[1:] and found, "alice signs off", 3)
    assert [event.get("reason") for event in events] == [None, "signed_off"]
    assert field.who()["alice"]["reason"] == "signed_off"


def test_silence_ends_a_lease_with_a_notice_on_the_presence_topic(field: Field) -> None:
    dashboard = field.listen()
    field.publish("alice", {"device": "tablet", "session": "s1"})
    until(lambda: len(dashboard.of("events", "alice")) == 2, "the lease runs out")
    assert dashboard.of("events", "alice")[1]["reason"] == "stale_session"
    notice = until(lambda: dashboard.of("presence", "alice")[1:], "the notice is published")[0]
    assert {key: notice[key] for key in ("type", "device", "session", "reason", "source")} == {
        "type": "offline", "device": "tablet", "session": "s1", "reason": "stale_session", "source": "fieldbeat",
    }  # fmt: skip
    field.publish("alice", {"device": "tablet", "session": "s1", "seq": 2})
    until(lambda: len(dashboard.of("events", "alice")) == 3, "its next heartbeat brings it back")
    assert field.who()["alice"]["status"] == "online"


def test_a_user_with_two_devices_is_offline_when_both_are_gone(field: Field) -> None:
    dashboard = field.listen()
    for device in ("tablet", "phone"):
        field.publish("alice", {"device": device, "session": f"of-{device}"})
    field.publish("alice", {"type": "offline", "device": "tablet", "session": "of-tablet", "reason": "signed_off"})

    def standing() -> dict[str, str]:
        return {
            each["device"]: each["status"] for state in dashboard.of("state", "alice")[-1:] for each in state["devices"]
        }

    until(lambda: standing().get("tablet") == "offline", "the tablet is shown offline")
    assert field.who()["alice"]["status"] == "online"
    field.publish("alice", {"type": "offline", "device": "phone", "session": "of-phone", "reason": "signed_off"})
    until(lambda: len(dashboard.of("events", "alice")) == 2, "alice is announced as gone")
    assert [event["type"] for event in dashboard.of("events", "alice")] == ["user:online", "user:offline"]


def test_activities_and_status_texts_are_set_logged_announced_and_cleared(field: Field) -> None:
    dashboard = field.listen("company/acme/events/+", "company/acme/state/+")
    field.publish("alice", {"projectId": "p1", "taskId": "t9"}, "activity")
    field.publish("alice", {"message": "On site until five"}, "status")
    until(lambda: len(dashboard.of("events", "alice")) == 2, "both are announced")
    alice = field.who()["alice"]
    assert (alice["currentProjectId"], alice["currentTaskId"], alice["statusMessage"]) == (
        "p1",
        "t9",
        "On site until five",
    )
    field.publish("alice", {"projectId": None}, "activity")
    field.publish("alice", b"", "status")
    events = until(lambda: (found := dashboard.of("events", "alice"))[3:] and found, "both are cleared")
    assert [event["type"] for event in events] == ["activity:changed", "status:updated"] * 2
    assert (events[2]["projectId"], events[3]["statusMessage"]) == (None, None)
    [interval] = field.ask("activity", "--company", "acme")
    assert interval["projectId"] == "p1"


def test_a_dashboard_that_comes_late_has_the_roster_from_retained_states_alone(field: Field) -> None:
    early = field.listen("company/acme/events/+")
    for user in ("alice", "bob", "carol"):
        field.publish(user, {"device": "phone", "latitude": 1.5, "longitude": 2.5})
    until(lambda: len(early.heard) == 3, "all are announced")
    late = field.listen("company/acme/state/+")
    until(
        lambda: {state["userId"] for _, state in late.heard if isinstance(state, dict)} == {"alice", "bob", "carol"},
        "the roster",
    )


def test_companies_never_see_each_other(field: Field) -> None:
    rival = field.listen("company/acme/#", "company/+/state/+", "#", company="globex")
    mine = field.listen()
    field.publish("alice", {"device": "phone"})
    until(lambda: mine.of("state", "alice"), "alice is announced")
    field.publish("zoe", {"device": "phone"}, company="globex")
    until(lambda: field.who("globex"), "the other company has its own roster")
    assert not [topic for topic, _ in rival.heard if topic.startswith("company/acme/")]


def test_garbage_is_refused_with_a_reason_and_the_next_good_message_is_stored(field: Field) -> None:
    garbage = [
        b"not json", b"[]", b'{"latitude": NaN, "longitude": 1}', b'{"latitude": 1e999, "longitude": 1}', b'{"projectId": "\\ud800"}',
        b'{"device": "a\\u0000"}', b'{"x": ' + b"[" * 7000 + b"]" * 7000 + b"}", b"x" * 10_000_000, b'{"userId": "bob"}', b"\xff\xfe",
    ]  # fmt: skip
    for payload in garbage:
        field.publish("alice", payload)
    field.publish("alice", {"device": "phone"})
    until(lambda: field.who().get("alice", {}).get("status") == "online", "the good message is stored")
    refused = field.ask("rejected", "--company", "acme")
    assert len(refused) == len(garbage)
    assert all(entry["reason"] for entry in refused)


def test_a_revoked_user_is_thrown_out_and_announced_with_the_reason(field: Field) -> None:
    dashboard = field.listen("company/acme/events/+")
    client = field.connect("alice", {"type": "offline", "device": "phone", "session": "s1"})
    field.publish("alice", {"device": "phone", "session": "s1"})
    until(lambda: dashboard.heard, "alice is announced")
    assert field.run("token", "revoke", "--company", "acme", "--user", "alice").returncode == 0
    until(lambda: dashboard.of("events", "alice")[1:], "alice is announced as gone")
    assert dashboard.of("events", "alice")[1]["reason"] == "token_revoked"
    until(lambda: field.publish("alice", {"device": "phone", "session": "s1"}), "the old token is refused", 3)
    client.kill()


def test_it_drains_on_sigterm_and_keeps_everything_over_a_restart(field: Field) -> None:
    field.publish("alice", {"device": "phone", "session": "s1", "latitude": 1.0, "longitude": 2.0})
    assert field.stop("up", signal.SIGTERM) == 0
    field.start("up")
    late = field.listen("company/acme/state/+", "fieldbeat/service")
    until(lambda: late.of("state", "alice"), "the retained states are there again")
    assert field.who()["alice"]["lastLatitude"] == 1.0
    assert [payload["online"] for topic, payload in late.heard if topic == "fieldbeat/service"] == [True]


def test_each_part_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    with new_field(tmp_path, offline_grace="0", sweep_interval="0.2") as field:
        field.start("broker")
        field.start("ingest", "--no-jobs")
        field.start("jobs")
        dashboard = field.listen()
        field.publish("alice", {"device": "phone", "session": "s1"})
        field.publish("alice", {"type": "offline", "device": "phone", "session": "s1"})
        until(lambda: len(dashboard.of("events", "alice")) == 2, "alice comes and goes")
        assert [field.stop(name) for name in ("ingest", "jobs", "broker")] == [0, 0, 0]
