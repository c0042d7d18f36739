"""Messages of real clients, from their own projects' tests: understood, or refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from broker.link import Delivery
from ingest.decode import Decoded, Rejected, decode
from models.facts import Ended, Heard
from tests.samples import RECEIVED

DATA = Path(__file__).parent.parent / "data"
TAKEN_THOUGH_THE_SOURCE_REFUSES = {
    # OwnTracks wants a `tid` or a `topic`; here the topic says who speaks.
    "invalid_location_message_missing_tid_and_topic",
    # A will needs no time: ours is the time of receipt.
    "lwt-notst",
    # No field of a heartbeat is required (contract 3).
    "object-empty",
}


def recorded() -> list[Any]:
    return [
        pytest.param(message, id=f"{path.stem}-{number}-{message['name']}")
        for path in sorted(DATA.glob("*.json"))
        for number, message in enumerate(json.loads(path.read_text(encoding="utf-8"))["messages"])
    ]


def outcome_of(message: dict[str, str]) -> object:
    payload = message["payload_text"].encode()
    return decode(Delivery("company/acme/presence/jane", payload, RECEIVED, lambda: None))


@pytest.mark.parametrize("message", recorded())
def test_a_recorded_message_is_understood_or_refused_with_a_reason(message: dict[str, str]) -> None:
    outcome = outcome_of(message)

    assert isinstance(outcome, Decoded | Rejected)
    if isinstance(outcome, Rejected):
        assert outcome.reason
    if message.get("expect", "").startswith("reject") and message["name"] not in TAKEN_THOUGH_THE_SOURCE_REFUSES:
        assert isinstance(outcome, Rejected)


@pytest.mark.parametrize("message", recorded())
def test_every_owntracks_location_with_a_place_and_a_time_is_a_heartbeat(message: dict[str, str]) -> None:
    try:
        said = json.loads(message["payload_text"])
    except ValueError:
        said = None
    whole = isinstance(said, dict) and said.get("_type") in {"location", "transition"} and said.get("tst", 0) > 0
    if not whole or not all(isinstance(said.get(name), int | float) for name in ("lat", "lon")):
        return

    outcome = outcome_of(message)

    assert isinstance(outcome, Decoded)
    assert isinstance(outcome.signal, Heard)
    fix = outcome.signal.fix
    assert (fix and (fix.latitude, fix.longitude)) == (
        (said["lat"], said["lon"]) if said["lat"] or said["lon"] else None
    )


@pytest.mark.parametrize("name", ["lwt", "lwt-extra", "one", "owntracks-lwt"])
def test_every_owntracks_will_ends_the_session_without_id(name: str) -> None:
    found = [param.values[0] for param in recorded() if param.values[0]["name"] == name]

    for message in found:
        outcome = outcome_of(message)
        assert isinstance(outcome, Decoded)
        assert isinstance(outcome.signal, Ended)
        assert outcome.signal.session == ""
    assert found


def test_each_file_names_its_source_and_licence() -> None:
    listed = (DATA / "LICENCES.md").read_text(encoding="utf-8")

    for path in sorted(DATA.glob("*.json")):
        head = json.loads(path.read_text(encoding="utf-8"))
        assert head["licence"]
        assert head["source"]
        assert f"`{path.name}`" in listed
