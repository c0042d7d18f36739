"""Packets out of a broker's bytes, wherever the chunks end."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from broker.mqtt_stream import Malformed, Packet, Publication, Stream

Came = Publication | Packet

CONNACK = Packet(0x20, b"\0\0\0")
SUBACK = Packet(0x90, b"\0\1\0\1")
PINGRESP = Packet(0xD0, b"")
SMALL = Publication(b"company/acme/presence/alice", b"{}", 1, retain=False)
RETAINED = Publication(b"t", b"", 0, retain=True)
LONG = Publication("Zürich".encode(), bytes(range(256)) * 80, 65535, retain=False)
"""Its remaining length has three digits."""
ALL: list[Came] = [CONNACK, SMALL, SMALL, RETAINED, SUBACK, LONG, PINGRESP, SMALL]
USER_PROPERTY = b"\x26\0\1a\0\1b"


def length(size: int) -> bytes:
    digits = bytearray()
    while True:
        size, digit = divmod(size, 128)
        digits.append(digit | (128 if size else 0))
        if not size:
            return bytes(digits)


def written(came: Came, properties: bytes | None = None) -> bytes:
    """Return the bytes of a packet; without PROPERTIES those of MQTT 3.1.1."""
    if isinstance(came, Packet):
        return bytes((came.header,)) + length(len(came.body)) + came.body
    body = len(came.topic).to_bytes(2, "big") + came.topic
    body += came.packet_id.to_bytes(2, "big") if came.packet_id else b""
    body += b"" if properties is None else length(len(properties)) + properties
    body += came.payload
    return bytes((0x30 | (2 if came.packet_id else 0) | came.retain,)) + length(len(body)) + body


def read(stream: Stream, chunks: Sequence[bytes]) -> list[Came]:
    """Return what came, one after the other."""
    came: list[Came] = []
    for chunk in chunks:
        for what in stream.feed(chunk):
            came += [what] if isinstance(what, Packet) else what
    return came


def test_a_chunk_gives_its_publications_together_and_all_in_order() -> None:
    came = list(Stream(v5=False).feed(b"".join(map(written, ALL))))
    assert came == [CONNACK, [SMALL, SMALL, RETAINED], SUBACK, [LONG], PINGRESP, [SMALL]]


@pytest.mark.parametrize("properties", [None, b"", USER_PROPERTY, USER_PROPERTY * 40], ids=["3.1.1", "0", "7", "280"])
def test_a_stream_may_be_cut_anywhere(properties: bytes | None) -> None:
    data = b"".join(written(each, properties) for each in (CONNACK, SMALL, RETAINED, PINGRESP, SMALL))
    for cut in range(len(data) + 1):
        stream = Stream(v5=properties is not None)
        assert read(stream, [data[:cut], data[cut:]]) == [CONNACK, SMALL, RETAINED, PINGRESP, SMALL]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_stream_may_come_in_pieces_of_any_size(size: int) -> None:
    data = b"".join(map(written, ALL))
    assert read(Stream(v5=False), [data[at : at + size] for at in range(0, len(data), size)]) == ALL


def test_random_pieces_of_a_long_stream_give_what_was_sent() -> None:
    chance = random.Random(4)
    sent = [chance.choice(ALL) for _ in range(300)]
    data, at, chunks = b"".join(written(each, USER_PROPERTY) for each in sent), 0, []
    while at < len(data):
        size = chance.choice((0, 1, 5, 100, 30_000))
        chunks.append(data[at : at + size])
        at += size
    assert read(Stream(v5=True), chunks) == sent


def test_a_large_message_is_put_together_once() -> None:
    large = Publication(b"t", bytes(3_000_000), 1, retain=False)
    data = written(large)
    stream = Stream(v5=False)
    assert read(stream, [data[at : at + 1000] for at in range(0, len(data), 1000)]) == [large]


@pytest.mark.parametrize(
    ("broken", "v5"),
    [
        (b"\x20\x80\x80\x80\x80\x01", False),
        (b"\x30\xff\xff\xff\xff\x7f", False),
        (b"\x30\x00", False),
        (b"\x30\x01\x00", False),
        (b"\x30\x02\x00\x05" + b"later", False),
        (b"\x32\x04\x00\x01t\x00" + b"\x01", False),
        (b"\x32\x05\x00\x01t\x00\x00", False),
        (b"\x34\x05\x00\x01t\x00\x01", False),
        (b"\x36\x05\x00\x01t\x00\x01", False),
        (b"\x30\x02\x00\x00", False),
        (b"\x30\x03\x00\x01t", True),
        (b"\x30\x04\x00\x01t\x01", True),
        (b"\x30\x05\x00\x01t\xff\xff", True),
        (b"\x30\x08\x00\x01t\xff\xff\xff\xff\x01", True),
        (b"\x30\x06\x00\x00\x03\x23\x00\x01", True),
    ],
    ids=[
        "a length of five digits", "a publication with one", "no topic length", "half of it", "a topic longer than the packet",
        "half a packet id", "packet id 0", "QoS 2", "QoS 3", "an empty topic", "no property length",
        "properties that are not there", "half a property length", "a property length of five digits", "a topic alias",
    ],
)  # fmt: skip
def test_what_no_broker_may_send_is_malformed(broken: bytes, v5: bool) -> None:
    with pytest.raises(Malformed):
        read(Stream(v5=v5), [broken + bytes(10)])


def test_any_garbage_is_malformed_or_waits_or_is_some_packet() -> None:
    chance = random.Random(5)
    for _ in range(2_000):
        stream = Stream(v5=chance.random() < 0.5)
        try:
            came = read(stream, [chance.randbytes(chance.randrange(40)) for _ in range(5)])
        except Malformed:
            continue
        assert all(each.topic for each in came if isinstance(each, Publication))
