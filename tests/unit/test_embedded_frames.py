"""Frames, packets and CONNECT: any cut, any bytes, and the same reading as amqtt's codec."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from amqtt.adapters import BufferReader
from amqtt.mqtt.connect import ConnectPacket
from amqtt.mqtt.publish import PublishPacket
from hypothesis import given
from hypothesis import strategies as st

from broker.embedded import frames
from broker.embedded.connect import Connect, OtherVersion, Will, read_connect
from broker.embedded.frames import Frame, FrameReader, Malformed, read_publish, read_subscribe, read_text
from broker.embedded.messages import Message, remaining_length, string
from tests.integration.raw_mqtt import connect, packet, subscribe, unsubscribe

TEXTS = st.text(st.characters(exclude_characters="\0+#", codec="utf-8"), min_size=1, max_size=30)


def read_all(reader: FrameReader, pieces: Sequence[bytes]) -> list[Frame]:
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (frame := reader.next()) is not None:
            found.append(frame)
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.binary(max_size=300), max_size=6), st.lists(st.integers(0, 3000), max_size=12))
def test_frames_are_the_same_however_the_stream_is_cut(bodies: list[bytes], places: list[int]) -> None:
    data = b"".join(packet(0x30, body) for body in bodies)
    reader = FrameReader(1000, 10)
    assert read_all(reader, cut(data, places)) == [Frame(0x30, body) for body in bodies]
    assert not reader.partial


@given(st.lists(st.integers(0, 500_000), max_size=8), st.integers(0, 3))
def test_of_a_publish_over_the_limit_only_the_beginning_is_kept(places: list[int], after: int) -> None:
    large = packet(0x32, string("t") + b"\0\1" + bytes(400_000))
    found = read_all(FrameReader(1000, 10), cut(large + packet(0xC0) * after, places))
    assert len(found) == 1 + after
    assert found[0].cut
    assert found[0].body[:5] == b"\0\1t\0\1"
    assert len(found[0].body) < 70_000


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_malformed(data: bytes) -> None:
    try:
        for frame in read_all(FrameReader(100, 10), [data]):
            if frame.header >> 4 == frames.PUBLISH:
                read_publish(frame.header, frame.body)
            elif frame.header >> 4 == frames.CONNECT:
                read_connect(frame.body)
            else:
                read_subscribe(frame.body, with_qos=frame.header >> 4 == frames.SUBSCRIBE)
    except Malformed:
        pass


@given(TEXTS, st.binary(max_size=400), st.integers(0, 2), st.integers(1, 0xFFFF), st.booleans())
def test_a_publish_is_read_and_written_as_amqtt_does(
    topic: str, payload: bytes, qos: int, packet_id: int, retain: bool
) -> None:
    theirs = PublishPacket.build(topic, payload, packet_id if qos else None, False, qos, retain).to_bytes()
    assert Message(topic, string(topic), payload, qos).packet(qos, packet_id, retain=retain) == theirs
    frame = read_all(FrameReader(1000, 10), [theirs])[0]
    assert read_publish(*frame[:2]) == (topic.encode(), payload, qos, packet_id if qos else 0, retain)


@given(
    TEXTS,
    TEXTS,
    TEXTS,
    st.booleans(),
    st.integers(0, 0xFFFF),
    st.one_of(st.none(), st.tuples(TEXTS, st.integers(0, 2))),
)
def test_a_connect_is_read_as_amqtt_does(
    client_id: str, username: str, password: str, clean: bool, keepalive: int, will: tuple[str, int] | None
) -> None:
    data = connect(
        client_id, username, password, clean=clean, keepalive=keepalive, will=will and (will[0], b"gone", will[1], True)
    )
    theirs = asyncio.run(ConnectPacket.from_stream(BufferReader(data)))
    frame = read_all(FrameReader(10_000, 10), [data])[0]
    ours = read_connect(frame.body)
    assert ours == Connect(
        theirs.payload.client_id,
        theirs.variable_header.clean_session_flag,
        theirs.variable_header.keep_alive,
        theirs.payload.username,
        theirs.payload.password.encode(),
        Will(theirs.payload.will_topic, bytes(theirs.payload.will_message), theirs.variable_header.will_qos, True)
        if will
        else None,
    )


def test_another_version_has_its_own_answer() -> None:
    assert read_connect(connect("a", level=5)[2:]) == OtherVersion(b"\x20\x03\x00\x84\x00")
    assert read_connect(connect("a", protocol="MQIsdp", level=3)[2:]) == OtherVersion(b"\x20\x02\x00\x01")


def test_subscribe_and_unsubscribe_say_their_filters() -> None:
    read = read_subscribe(subscribe(5, ("a/#", 1), ("b", 0))[2:], with_qos=True)
    assert read == (5, (("a/#", 1), ("b", 0)))
    assert read_subscribe(unsubscribe(6, "a/#")[2:], with_qos=False) == (6, (("a/#", 0),))


@pytest.mark.parametrize("raw", [b"a\0b", b"\xff", b"\xed\xa0\x80"], ids=["nul", "no utf-8", "surrogate"])
def test_a_string_outside_the_rules_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_text(raw)


@pytest.mark.parametrize("length", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455])
def test_the_remaining_length_is_read_back(length: int) -> None:
    reader = FrameReader(1 << 30, 10)
    reader.feed(b"\x30" + remaining_length(length))
    assert len(remaining_length(length)) <= 4
    assert (reader.next() is not None) == (length == 0)


def test_credentials_do_not_show_in_a_repr() -> None:
    read = read_connect(connect("a", "alice", "secret-token")[2:])
    assert "secret-token" not in repr(read)
