"""What devices may send, and that anything else is refused with a reason and nothing worse."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.link import Delivery
from ingest.decode import Decoded, Ignored, Rejected, decode, digest
from models import payloads
from models.errors import BadPayload
from models.payloads import Presence
from tests.samples import PRESENCE, RECEIVED, SAMPLES, NotForUs, Refused, Sample

BY_BYTES = sorted({sample.payload for sample in SAMPLES if len(sample.payload) < 2000})


def deliver(topic: str, payload: bytes, *, retained: bool = False) -> Decoded | Rejected | Ignored:
    return decode(Delivery(topic, payload, RECEIVED, lambda: None, retained))


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_each_sample_means_what_the_table_says(sample: Sample) -> None:
    outcome = deliver(sample.topic, sample.payload, retained=sample.retained)

    match sample.meaning:
        case Refused(words=words):
            assert isinstance(outcome, Rejected)
            assert words in outcome.reason
            assert (outcome.topic, outcome.payload, outcome.received) == (sample.topic, sample.payload, RECEIVED)
        case NotForUs():
            assert isinstance(outcome, Ignored)
        case signal:
            assert isinstance(outcome, Decoded)
            assert (outcome.company, outcome.user, outcome.signal) == ("acme", "alice", signal)


def test_no_two_samples_share_a_name() -> None:
    names = [sample.name for sample in SAMPLES]

    assert sorted(names) == sorted(set(names))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["presence", "activity", "status"]), st.binary(max_size=200))
def test_no_bytes_break_the_decoder(channel: str, payload: bytes) -> None:
    outcome = deliver(f"company/acme/{channel}/alice", payload)

    assert isinstance(outcome, Decoded | Rejected | Ignored)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BY_BYTES), st.integers(0, 2000), st.binary(min_size=1, max_size=3), st.booleans())
def test_no_mutation_of_a_sample_breaks_the_decoder(payload: bytes, where: int, bits: bytes, cut: bool) -> None:
    where = min(where, len(payload))
    mutated = payload[:where] if cut else payload[:where] + bits + payload[where + 1 :]

    outcome = deliver(PRESENCE, mutated)

    assert isinstance(outcome, Decoded | Rejected | Ignored)
    if isinstance(outcome, Rejected):
        assert 0 < len(outcome.reason) <= 240


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80))
def test_no_topic_breaks_the_decoder(topic: str) -> None:
    assert isinstance(deliver(topic, b"{}"), Rejected)


def test_a_message_of_exactly_the_longest_length_is_read() -> None:
    payload = b'{"x":"' + b"x" * (payloads.MAX_BYTES - 8) + b'"}'

    assert len(payload) == payloads.MAX_BYTES
    assert isinstance(deliver(PRESENCE, payload), Decoded)


def test_times_are_in_utc_whatever_zone_the_device_writes() -> None:
    message = payloads.read_presence(b'{"at":"2026-11-22T10:00:00+05:30"}')

    assert message.at is not None
    assert message.at.tzinfo is UTC
    assert message.at == datetime(2026, 11, 22, 4, 30, tzinfo=UTC)


def test_speed_from_owntracks_is_in_metres_a_second() -> None:
    message = payloads.read_presence(b'{"_type":"location","lat":1,"lon":2,"tst":1,"vel":36}')

    assert message.speed == 10


def test_a_message_is_told_from_others_by_its_seq_or_else_by_its_bytes() -> None:
    numbered, plain = deliver(PRESENCE, b'{"seq":3}'), deliver(PRESENCE, b'{"device":"a"}')

    assert isinstance(numbered, Decoded)
    assert isinstance(plain, Decoded)
    assert numbered.message == 3
    assert plain.message == digest(b'{"device":"a"}') < 0


def test_messages_cannot_be_changed() -> None:
    message = payloads.read_presence(b"{}")

    with pytest.raises(AttributeError):
        message.device = "other"  # type: ignore[misc] # that it is frozen is the point


def test_a_message_cannot_be_built_with_half_a_position() -> None:
    with pytest.raises(ValueError, match="together"):
        Presence(latitude=1.0)


def test_a_refusal_says_nothing_of_python() -> None:
    with pytest.raises(BadPayload, match=r"^JSON is nested too deeply$"):
        payloads.read_presence(b'{"x":' + b"[" * 5000)
