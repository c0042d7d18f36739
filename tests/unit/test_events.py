"""The JSON of what the service announces, exactly as contract 5 shows it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from models.events import (
    ActivityChanged,
    DeviceState,
    Event,
    FellSilent,
    State,
    StatusUpdated,
    WentOffline,
    WentOnline,
    channel_of,
    encode_event,
    number,
    rfc3339,
)
from models.facts import Fix, Reason, Stamp, Status
from models.payloads import read_presence
from models.topics import Channel

WHEN = datetime(2026, 11, 22, 10, 0, 0, 123456, UTC)
ID = "019aa9a8-1c00-7000-8000-000000000001"
HEAD = {"id": ID, "companyId": "acme", "userId": "alice", "timestamp": "2026-11-22T10:00:00.123Z"}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (WentOnline(WHEN, "tablet-7"), {"type": "user:online", "device": "tablet-7"}),
        (
            WentOffline(WHEN, "tablet-7", Reason.STALE_SESSION),
            {"type": "user:offline", "device": "tablet-7", "reason": "stale_session"},
        ),
        (ActivityChanged(WHEN, "p1", "t9"), {"type": "activity:changed", "projectId": "p1", "taskId": "t9"}),
        (ActivityChanged(WHEN, None, None), {"type": "activity:changed", "projectId": None, "taskId": None}),
        (
            StatusUpdated(WHEN, "On site"),
            {
                "type": "status:updated",
                "statusMessage": "On site",
                "statusUpdatedAt": "2026-11-22T10:00:00.123Z",
            },
        ),
    ],
)
def test_an_event_is_what_the_contract_shows(event: Event, said: dict[str, object]) -> None:
    assert json.loads(encode_event(event, ID, "acme", "alice")) == HEAD | said
    assert channel_of(event) is Channel.EVENTS


def test_a_notice_is_what_the_will_would_have_said() -> None:
    event = FellSilent(WHEN, "tablet-7", "s1")

    assert json.loads(encode_event(event, ID, "acme", "alice")) == {
        "type": "offline",
        "device": "tablet-7",
        "session": "s1",
        "reason": "stale_session",
        "source": "fieldbeat",
        "eventId": ID,
        "at": "2026-11-22T10:00:00.123Z",
    }
    assert channel_of(event) is Channel.PRESENCE


def test_a_notice_of_a_device_without_sessions_names_none() -> None:
    assert "session" not in json.loads(encode_event(FellSilent(WHEN, "d", ""), ID, "acme", "alice"))


@pytest.mark.parametrize("session", ["s1", ""])
def test_a_notice_is_a_message_that_readers_of_the_presence_topic_understand(session: str) -> None:
    message = read_presence(encode_event(FellSilent(WHEN, "d", session), ID, "acme", "alice"))

    assert (message.type, message.device, message.session, message.reason) == (
        "offline",
        "d",
        session or None,
        "stale_session",
    )


def test_the_state_is_what_the_contract_shows() -> None:
    shown = State(
        company="acme",
        user="alice",
        rev=42,
        status=Status.ONLINE,
        reason=None,
        since=datetime(2026, 11, 22, 10, tzinfo=UTC),
        last_seen=WHEN,
        fix=Fix(Stamp(WHEN, 3), 12.9716, 77.5946, 5.0),
        project="p1",
        task="t9",
        message=None,
        message_updated=None,
        devices=(DeviceState("tablet-7", Status.ONLINE, WHEN, 80.0),),
    ).to_json()

    assert list(shown.items()) == [
        ("type", "presence:update"),
        ("companyId", "acme"),
        ("userId", "alice"),
        ("rev", 42),
        ("status", "online"),
        ("reason", None),
        ("since", "2026-11-22T10:00:00.000Z"),
        ("lastSeenAt", "2026-11-22T10:00:00.123Z"),
        ("lastLatitude", 12.9716),
        ("lastLongitude", 77.5946),
        ("lastAccuracy", 5.0),
        ("lastFixAt", "2026-11-22T10:00:00.123Z"),
        ("currentProjectId", "p1"),
        ("currentTaskId", "t9"),
        ("statusMessage", None),
        ("statusUpdatedAt", None),
        (
            "devices",
            [{"device": "tablet-7", "status": "online", "lastSeenAt": "2026-11-22T10:00:00.123Z", "battery": 80}],
        ),
    ]
    assert '"battery": 80}' in json.dumps(shown)


def test_a_state_of_nobody_known_is_null_where_nothing_is_known() -> None:
    shown = State(
        company="acme",
        user="alice",
        rev=1,
        status=Status.OFFLINE,
        reason=Reason.SIGNED_OFF,
        since=None,
        last_seen=None,
        fix=None,
        project=None,
        task=None,
        message="x",
        message_updated=WHEN,
        devices=(),
    ).to_json()

    assert [key for key, value in shown.items() if value is None] == [
        "since",
        "lastSeenAt",
        "lastLatitude",
        "lastLongitude",
        "lastAccuracy",
        "lastFixAt",
        "currentProjectId",
        "currentTaskId",
    ]
    assert (shown["reason"], shown["devices"], shown["statusUpdatedAt"]) == (
        "signed_off",
        [],
        "2026-11-22T10:00:00.123Z",
    )


def test_a_state_is_read_back_from_what_was_said_of_it() -> None:
    devices = DeviceState("tablet-7", Status.ONLINE, WHEN, 80.5), DeviceState("van", Status.OFFLINE, None, None)
    fix = Fix(Stamp(WHEN), 0.0, 77.5, None)
    full = State("acme", "alice", 7, Status.AWAY, None, WHEN, WHEN, fix, "p1", None, "Hello", WHEN, devices)
    empty = State("acme", "bob", 0, Status.OFFLINE, Reason.SIGNED_OFF, None, None, None, None, None, None, None, ())
    for state in (full, empty):
        assert State.of(state.to_json()).to_json() == state.to_json()


def test_a_whole_number_is_read_back_as_the_number_that_it_was() -> None:
    device = DeviceState("van", Status.ONLINE, WHEN, 80.0)
    fix = Fix(Stamp(WHEN), 13.0, 78.0, 5.0)
    state = State("acme", "alice", 7, Status.ONLINE, None, WHEN, WHEN, fix, None, None, None, None, [device])
    said = json.loads(json.dumps(state.to_json()).replace(".0,", ","))
    read = State.of(said)
    assert read.fix is not None
    numbers = read.fix.latitude, read.fix.longitude, read.fix.accuracy, read.devices[0].battery
    assert repr(numbers) == "(13.0, 78.0, 5.0, 80.0)"
    assert read.to_json() == state.to_json()


def test_a_place_on_the_equator_is_not_null() -> None:
    shown = State(
        "acme", "alice", 1, Status.ONLINE, None, None, None, Fix(Stamp(WHEN), 0.0, 0.5, 0.0), None, None, None, None, ()
    ).to_json()

    assert (shown["lastLatitude"], shown["lastAccuracy"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (WHEN, "2026-11-22T10:00:00.123Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 999999, UTC), "2026-01-02T03:04:05.999Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
        (None, None),
    ],
)
def test_times_are_written_in_utc_to_the_millisecond(time: datetime | None, text: str | None) -> None:
    assert rfc3339(time) == text


def test_numbers_are_written_short() -> None:
    assert [json.dumps(number(value)) for value in (80.0, 80.5, None, 0.0)] == ["80", "80.5", "null", "0"]
