"""The commands that ask: they tell what is true now, in a form for people and in one for programs."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import gpxpy
import pytest

from tests.integration.field import Command, Field

HERE: dict[str, Any] = {"latitude": 12.9716, "longitude": 77.5946, "accuracy": 5}
WHO = "who", "--company", "acme"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fieldbeat(capsys: pytest.CaptureFixture[str], place: Path) -> Command:
    assert place == Path.cwd()
    return Command(capsys)


@pytest.fixture
def acme(place: Path) -> Field:
    """Alice is here with two devices and busy, bob lost his connection, carol went silent, dave is away."""
    made = Field(place)
    made.listen()
    made.tell("alice", 60, device="tablet-7", session="s1", seq=1, battery=80, projectId="p1", taskId="t9", **HERE)
    made.tell("alice", 50, device="phone", session="s2", seq=1)
    made.tell("alice", 45, channel="status", message="On site until five")
    made.tell("bob", 100, device="van", session="s3", seq=1)
    made.tell("bob", 90, type="offline", device="van", session="s3")
    made.tell("carol", 3600, device="phone", session="s4", seq=1)
    made.tell("dave", 30, device="phone", session="s5", seq=1, status="away")
    return made


def test_who_tells_the_truth_also_where_no_sweep_has_been(fieldbeat: Command, acme: Field) -> None:
    ended = fieldbeat(*WHO, "--json")
    assert (ended.status, ended.err) == (0, "")
    states = {state["userId"]: state for state in ended.json}
    assert {user: (state["status"], state["reason"]) for user, state in states.items()} == {
        "alice": ("online", None),
        "bob": ("offline", "connection_lost"),
        "carol": ("offline", "stale_session"),
        "dave": ("away", None),
    }
    assert states["alice"]["lastLatitude"] == 12.9716
    assert states["alice"]["currentTaskId"] == "t9"
    assert states["alice"]["statusMessage"] == "On site until five"
    assert acme.now


def test_who_prints_a_table_that_can_be_read(fieldbeat: Command, acme: Field) -> None:
    heading, alice, *_ = fieldbeat(*WHO).out.splitlines()
    assert heading.split() == ["USER", "STATUS", "FOR", "LAST", "SEEN", "POSITION", "ACTIVITY", "MESSAGE", "DEVICES"]
    for part in ("alice", "online", "12.97160, 77.59460 ±5 m", "p1 / t9", "On site until five", "tablet-7 80 %"):
        assert part in alice
    assert acme.now


def test_who_keeps_to_a_status(fieldbeat: Command, acme: Field) -> None:
    assert [state["userId"] for state in fieldbeat(*WHO, "--status", "away", "--json").json] == ["dave"]
    assert fieldbeat(*WHO, "--status", "asleep").status == 2
    assert acme.now


def test_a_message_of_a_device_cannot_steer_the_terminal(fieldbeat: Command, acme: Field) -> None:
    acme.tell("alice", 1, channel="status", message="\x1b[2Jgone\nbob online")
    ended = fieldbeat(*WHO)
    assert "\x1b" not in ended.out
    assert "\\x1b[2Jgone\\nbob online" in ended.out


@pytest.mark.parametrize(
    "command", ["who", "user show --user u", "why --user u", "track --user u", "activity", "events", "rejected"]
)
def test_an_unknown_company_is_said_to_be_unknown(command: str, fieldbeat: Command, acme: Field) -> None:
    ended = fieldbeat(*command.split(), "--company", "nowhere")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("fieldbeat: no company 'nowhere'")
    assert ended.err.count("\n") == 1
    assert acme.now


@pytest.mark.parametrize("command", ["user show", "why", "track", "activity", "events"])
def test_an_unknown_user_is_said_to_be_unknown(command: str, fieldbeat: Command, acme: Field) -> None:
    ended = fieldbeat(*command.split(), "--company", "acme", "--user", "nobody")
    assert (ended.status, ended.out) == (1, "")
    assert "no user 'nobody' in company 'acme'" in ended.err
    assert acme.now


def test_what_a_company_has_nothing_of_is_empty_and_no_error(fieldbeat: Command, place: Path) -> None:
    made = Field(place)
    made.tell("alice", 5)
    for command in ("activity", "rejected"):
        assert fieldbeat(command, "--company", "acme", "--json") == (0, "[]\n", "")
    assert fieldbeat("track", "--company", "acme", "--user", "alice", "--format", "ndjson") == (0, "", "")
    assert fieldbeat("track", "--company", "acme", "--user", "alice", "--json").json["features"] == []


def test_a_user_is_shown_with_devices_and_sessions(fieldbeat: Command, acme: Field) -> None:
    shown = fieldbeat("user", "show", "--company", "acme", "--user", "alice", "--json").json
    assert {device["device"] for device in shown["devices"]} == {"tablet-7", "phone"}
    assert {(one["device"], one["session"], one["holds"]) for one in shown["sessions"]} == {
        ("tablet-7", "s1", True),
        ("phone", "s2", True),
    }
    text = fieldbeat("user", "show", "--company", "acme", "--user", "bob").out
    assert "offline (connection_lost)" in text
    assert acme.now


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("alice", "A user is online while any session holds a lease, and that of phone does."),
        ("bob", "its last will came at"),
        ("carol", "15 min of silence went by (stale_session)"),
        ("dave", "A user is away while the newest session that holds a lease says so"),
    ],
)
def test_why_names_the_rule_that_made_the_state(user: str, said: str, fieldbeat: Command, acme: Field) -> None:
    ended = fieldbeat("why", "--company", "acme", "--user", user)
    assert ended.status == 0
    assert said in ended.out
    assert "The service has been listening since" in ended.out
    assert acme.now


def test_why_lists_the_messages_and_what_is_not_announced_yet(fieldbeat: Command, acme: Field) -> None:
    told = fieldbeat("why", "--company", "acme", "--user", "bob", "--json").json
    assert [message["type"] for message in told["messages"]] == ["will", "heartbeat"]
    assert told["announced"] is False
    acme.store.sweep(acme.now, 100)
    assert fieldbeat("why", "--company", "acme", "--user", "bob", "--json").json["announced"] is True


def test_silence_does_not_count_while_nobody_listens(fieldbeat: Command, place: Path) -> None:
    made = Field(place)
    made.tell("carol", 3600, device="phone", session="s4")
    assert fieldbeat(*WHO, "--json").json[0]["status"] == "online"
    assert "silence does not count" in fieldbeat("why", "--company", "acme", "--user", "carol").out


@pytest.fixture
def walk(acme: Field) -> Field:
    """Erin walked with two devices, whose clocks are not all right, and paused."""
    for seq, ago_s in enumerate((7000, 6990, 3000)):
        at = acme.ago(ago_s + 1).isoformat()
        acme.tell("erin", ago_s, device="phone", session="w1", seq=seq, at=at, altitude=10.5, speed=1.5, **HERE)
    future = (acme.now + timedelta(hours=3)).isoformat()
    old = (acme.now - timedelta(days=3)).isoformat()
    acme.tell("erin", 20, device="-watch", session="w2", seq=1, at=future, **HERE)
    acme.tell("erin", 19, device="-watch", session="w2", seq=2, at=old, **HERE)
    acme.tell("erin", 18, device="-watch", session="w2", seq=3, **HERE)
    return acme


TRACK = "track", "--company", "acme", "--user", "erin"


def test_a_track_is_in_order_and_flags_what_clocks_got_wrong(fieldbeat: Command, walk: Field) -> None:
    points = [json.loads(line) for line in fieldbeat(*TRACK, "--format", "ndjson").out.splitlines()]
    assert [(point["device"], point["flags"]) for point in points] == [
        ("-watch", ["old"]),
        ("phone", []),
        ("phone", []),
        ("phone", []),
        ("-watch", ["unstamped"]),
        ("-watch", ["future"]),
    ]
    assert set(points[1]) == {
        *(
            "latitude",
            "longitude",
            "device",
            "at",
            "received",
            "accuracy",
            "altitude",
            "speed",
            "heading",
            "battery",
            "flags",
        )
    }
    assert walk.now


def test_a_track_keeps_to_a_device_and_a_time(fieldbeat: Command, walk: Field) -> None:
    some = fieldbeat(*TRACK, "--device", "phone", "--from", "2h", "--to", "60m", "--format", "ndjson").out.splitlines()
    assert len(some) == 2
    since = walk.ago(3100).isoformat()
    assert len(fieldbeat(*TRACK, "--device", "phone", "--from", since, "--format", "csv").out.splitlines()) == 2
    assert fieldbeat(*TRACK, "--from", "yesterday").status == 2
    assert fieldbeat(*TRACK, "--from", "1h", "--to", "2h").err == "fieldbeat: --from must be before --to\n"


def test_a_track_as_geojson_has_longitude_first(fieldbeat: Command, walk: Field) -> None:
    collection = fieldbeat(*TRACK, "--format", "geojson").json
    assert collection["type"] == "FeatureCollection"
    assert collection["features"][1]["geometry"] == {"type": "Point", "coordinates": [77.5946, 12.9716, 10.5]}
    assert walk.now


def test_a_track_as_gpx_is_read_by_gpxpy_with_one_track_a_device(fieldbeat: Command, walk: Field) -> None:
    ended = fieldbeat(*TRACK, "-o", "walk.gpx")
    assert (ended.status, ended.out) == (0, "")
    read = gpxpy.parse(Path("walk.gpx").read_text("utf-8"))
    assert {track.name: [len(one.points) for one in track.segments] for track in read.tracks} == {
        "phone": [2, 1],
        "-watch": [1, 1, 1],
    }
    phone = next(track for track in read.tracks if track.name == "phone")
    assert phone.segments[0].points[0].elevation == 10.5
    assert [path.name for path in Path().iterdir() if "walk" in path.name] == ["walk.gpx"]
    assert walk.now


def test_a_track_as_csv_holds_no_formula(fieldbeat: Command, walk: Field) -> None:
    rows = list(csv.DictReader(fieldbeat(*TRACK, "--format", "csv").out.splitlines()))
    assert {row["device"] for row in rows} == {"phone", "'-watch"}
    assert rows[1]["latitude"] == "12.9716"
    assert rows[0]["flags"] == "old"
    assert walk.now


def test_a_track_that_cannot_be_written_is_one_line(fieldbeat: Command, walk: Field) -> None:
    ended = fieldbeat(*TRACK, "-o", "no/such/place.csv")
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "No such file or directory" in ended.err
    assert walk.now


def test_activities_have_durations(fieldbeat: Command, acme: Field) -> None:
    acme.tell("frank", 600, channel="activity", projectId="p1", at=acme.ago(600).isoformat())
    acme.tell("frank", 240, channel="activity", projectId=None, at=acme.ago(240).isoformat())
    acme.tell("frank", 100, channel="activity", projectId="p2", taskId="t1", at=acme.ago(100).isoformat())
    first, second = fieldbeat("activity", "--company", "acme", "--user", "frank", "--json").json
    assert (first["projectId"], first["seconds"]) == ("p1", 360)
    assert (second["taskId"], second["to"]) == ("t1", None)
    assert second["seconds"] >= 100
    text = fieldbeat("activity", "--company", "acme", "--user", "frank").out
    assert "6 min" in text
    assert "goes on" in text


def test_events_are_printed_as_they_are_announced(fieldbeat: Command, acme: Field) -> None:
    acme.store.sweep(acme.now, 100)
    told = [json.loads(line) for line in fieldbeat("events", "--company", "acme", "--json").out.splitlines()]
    assert [event["type"] for event in told if event["userId"] == "bob"] == ["user:online", "user:offline"]
    assert len({event["id"] for event in told}) == len(told)
    last = fieldbeat("events", "--company", "acme", "--last", "2", "--json").out.splitlines()
    assert [json.loads(line) for line in last] == told[-2:]
    bob = fieldbeat("events", "--company", "acme", "--user", "bob").out.splitlines()
    assert bob[1].endswith("user:offline      device=van  reason=connection_lost")


def test_refused_messages_are_shown_with_reason_and_first_bytes(fieldbeat: Command, acme: Field) -> None:
    acme.tell("alice", 5, raw=b"\x1b[2J not JSON \xff")
    (refused,) = fieldbeat("rejected", "--company", "acme", "--json").json
    assert refused["topic"] == "company/acme/presence/alice"
    assert refused["reason"].startswith("not JSON")
    assert refused["head"] == "\x1b[2J not JSON \\xff"
    assert "\x1b" not in fieldbeat("rejected").out
