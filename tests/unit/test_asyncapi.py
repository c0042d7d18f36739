"""The AsyncAPI document describes what is really sent and announced, and the copy in the docs is fresh."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest

from models import schemas
from models.asyncapi import document, event_name, messages
from models.events import (
    ActivityChanged,
    DeviceState,
    Event,
    FellSilent,
    State,
    StatusUpdated,
    WentOffline,
    WentOnline,
    encode_event,
)
from models.facts import Fix, Reason, Stamp, Status
from models.topics import FROM_DEVICES, Channel, parse
from tests.asyncapi_document import FILE, page
from tests.samples import SAMPLES, Refused, Sample

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
EVENT_ID = "01931c3a-6d00-7000-8000-000000000000"
BY_CHANNEL = {message.channel: message.schema for message in messages().values() if message.by_device}
ACCEPTED = [
    sample
    for sample in SAMPLES
    if not isinstance(sample.meaning, Refused) and sample.payload and b"_type" not in sample.payload
]


def references(part: Any) -> list[str]:  # noqa: ANN401 any part of the document
    match part:
        case {"$ref": str(target)}:
            return [target]
        case dict():
            return [target for each in part.values() for target in references(each)]
        case list():
            return [target for each in part for target in references(each)]
    return []


def test_the_copy_in_the_docs_is_fresh() -> None:
    assert FILE.read_text("utf-8") == page(), "run `make docs`"


def test_every_channel_is_described_by_its_own_topic() -> None:
    channels = document("1")["channels"]
    assert set(channels) == {*map(str, Channel), "service"}
    for channel in Channel:
        topic = channels[channel]["address"].format(company="acme", user="alice")
        assert parse(topic) == ("acme", channel, "alice")


def test_every_reference_leads_somewhere() -> None:
    made = document("1")
    for target in references(made):
        found = made
        for step in target.removeprefix("#/").split("/"):
            found = found[step]


def test_devices_speak_on_their_channels_and_only_the_service_on_the_others() -> None:
    operations = document("1")["operations"].values()
    heard = {one["channel"]["$ref"].rpartition("/")[2] for one in operations if one["action"] == "receive"}
    said = {one["channel"]["$ref"].rpartition("/")[2] for one in operations if one["action"] == "send"}
    assert heard == set(map(str, FROM_DEVICES))
    assert said == {"presence", "state", "events", "service"}


@pytest.mark.parametrize("sample", ACCEPTED, ids=lambda sample: sample.name)
def test_what_is_accepted_is_described(sample: Sample) -> None:
    if b"source" not in sample.payload:
        jsonschema_rs.validate(BY_CHANNEL[parse(sample.topic).channel], json.loads(sample.payload))


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        (Channel.PRESENCE, {"latitude": 91}),
        (Channel.PRESENCE, {"reason": "stale_session"}),
        (Channel.PRESENCE, {"device": "a\n"}),
        (Channel.ACTIVITY, {}),
        (Channel.STATUS, {"message": "x" * 281}),
    ],
)
def test_what_is_refused_is_not_described(channel: Channel, said: dict[str, Any]) -> None:
    assert not jsonschema_rs.is_valid(BY_CHANNEL[channel], said)


@pytest.mark.parametrize(
    "event",
    [
        WentOnline(NOW, "tablet-7"),
        WentOffline(NOW, "tablet-7", Reason.STALE_SESSION),
        ActivityChanged(NOW, "p1", None),
        ActivityChanged(NOW, None, None),
        StatusUpdated(NOW, "On site"),
        StatusUpdated(NOW, None),
        FellSilent(NOW, "tablet-7", ""),
        FellSilent(NOW, "tablet-7", "s1"),
    ],
)
def test_what_is_announced_is_described(event: Event) -> None:
    said = json.loads(encode_event(event, EVENT_ID, "acme", "alice"))
    schema = schemas.NOTICE if isinstance(event, FellSilent) else schemas.EVENTS[event.type]
    jsonschema_rs.validate(schema, said)
    assert set(said) <= set(schema["properties"])


def test_a_state_is_described_field_by_field() -> None:
    devices = [DeviceState("tablet-7", Status.ONLINE, NOW, 80.0), DeviceState("van", Status.OFFLINE, None, None)]
    fix = Fix(Stamp(NOW), 12.9716, 77.5946, 5.0)
    full = State("acme", "alice", 1, Status.ONLINE, None, NOW, NOW, fix, "p1", "t9", "Hello", NOW, devices)
    empty = State("acme", "bob", 0, Status.OFFLINE, Reason.SIGNED_OFF, None, None, None, None, None, None, None, [])
    for state in (full, empty):
        said = state.to_json()
        jsonschema_rs.validate(schemas.STATE, said)
        assert list(said) == list(schemas.STATE["properties"])


def test_events_have_the_names_that_code_generators_like() -> None:
    assert event_name("user:online") == "UserOnline"
