"""Decoding is total: whatever a device puts into the fields that we know, the answer is a value that can be stored."""

from __future__ import annotations

import json
from datetime import UTC, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.link import Delivery
from ingest.decode import Decoded, Ignored, Rejected, decode, digest, has_position
from models.facts import CLOCK_SKEW, Heard
from models.payloads import Presence
from tests.samples import ACTIVITY, PRESENCE, RECEIVED, SAMPLES, STATUS

FIELDS = (
    "type", "device", "session", "seq", "at", "latitude", "longitude", "accuracy", "altitude", "speed", "heading",
    "battery", "projectId", "taskId", "status", "reason", "source", "userId", "companyId", "message", "until",
    "_type", "lat", "lon", "acc", "alt", "vel", "cog", "batt", "tst", "tid",
)  # fmt: skip
LIKELY: list[Any] = [
    "heartbeat", "offline", "online", "away", "signed_off", "stale_session", "fieldbeat", "location", "lwt", "phone", "alice",
    "2026-11-22T10:00:00Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-02-30T00:00:00Z", "nan", "\0", "\ud800",
    -1, 0, 1, 90, 180, 360, 2**63 - 1, 2**63, 10**400, -0.0, 1e308, float("nan"), float("inf"), True, None, [], {},
]  # fmt: skip
VALUES = st.sampled_from(LIKELY) | st.integers() | st.floats() | st.text(max_size=8)


def deliver(topic: str, payload: bytes, *, retained: bool = False) -> Decoded | Rejected | Ignored:
    return decode(Delivery(topic, payload, RECEIVED, lambda: None, retained))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([PRESENCE, ACTIVITY, STATUS]), st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6))
def test_any_values_in_the_fields_that_we_know_are_understood_or_refused(topic: str, fields: dict[str, Any]) -> None:
    payload = json.dumps(fields).encode()
    match deliver(topic, payload):
        case Decoded() as decoded:
            assert (decoded.topic, decoded.raw) == (topic, payload)
            assert -(2**63) <= decoded.message < 2**63
            assert decoded.signal.received == RECEIVED
        case Rejected() as rejected:
            assert rejected.payload == payload
            assert rejected.reason
        case Ignored(why=why):
            assert why == "own notice"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.binary(max_size=40))
def test_what_a_broker_kept_is_ignored_whatever_it_is(topic: str, payload: bytes) -> None:
    assert deliver(topic, payload, retained=True) == Ignored("retained")


@settings(max_examples=100, deadline=None)
@given(st.datetimes(timezones=st.just(UTC)))
def test_a_heartbeat_is_never_dated_later_than_we_would_believe(at: Any) -> None:  # noqa: ANN401 hypothesis has no narrower type
    said = {"at": at.isoformat(), "latitude": 1, "longitude": 2, "battery": 3}
    decoded = deliver(PRESENCE, json.dumps(said).encode())
    assert isinstance(decoded, Decoded)
    assert isinstance(decoded.signal, Heard)
    assert decoded.signal.stamp.at <= RECEIVED + CLOCK_SKEW
    # A time that is not believed dates no position: it would be the newest for good.
    assert (decoded.signal.fix is None) == (at > RECEIVED + CLOCK_SKEW)
    assert isinstance(decoded.payload, Presence)
    assert decoded.payload.at == at


@pytest.mark.parametrize("ahead", [timedelta(0), CLOCK_SKEW, CLOCK_SKEW + timedelta(microseconds=1)])
def test_two_minutes_ahead_is_the_last_moment_that_is_believed(ahead: timedelta) -> None:
    decoded = deliver(PRESENCE, json.dumps({"at": (RECEIVED + ahead).isoformat()}).encode())
    assert isinstance(decoded, Decoded)
    assert isinstance(decoded.signal, Heard)
    assert decoded.signal.stamp.at == (RECEIVED + ahead if ahead <= CLOCK_SKEW else RECEIVED)


@settings(max_examples=100, deadline=None)
@given(st.binary(), st.binary())
def test_digests_are_below_zero_fit_a_column_and_differ(one: bytes, other: bytes) -> None:
    assert -(2**63) <= digest(one) < 0
    assert (digest(one) == digest(other)) == (one == other)


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"), [(0, 0, False), (0, 1, True), (1, 0, True), (-0.0, 0.0, False)]
)
def test_exactly_0_0_is_no_position(latitude: float, longitude: float, expected: bool) -> None:
    assert has_position(Presence(latitude=latitude, longitude=longitude)) is expected
    assert not has_position(Presence())


def test_every_understood_sample_keeps_its_bytes() -> None:
    understood = [deliver(sample.topic, sample.payload, retained=sample.retained) for sample in SAMPLES]
    assert all(
        one.raw == sample.payload for one, sample in zip(understood, SAMPLES, strict=True) if isinstance(one, Decoded)
    )
