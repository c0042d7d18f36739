"""Bytes from a broker to MQTT packets, a chunk at a time; the publications of a chunk come out together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from msgspec import Struct

from models.errors import FieldbeatError

_MORE: Final = 0x80
"""In a digit of a length: another one follows [MQTT-2.2.3]."""
_LENGTH_DIGITS: Final = 4
_PUBLISH: Final = 0x30
_QOS, _QOS_1 = 0x06, 0x02


class Malformed(FieldbeatError):
    """Bytes that no broker may send to a client that subscribes at QoS 1; the connection ends."""


class Publication(Struct, frozen=True, gc=False):
    """A PUBLISH; the topic is still as it came, and `packet_id` is 0 at QoS 0."""

    topic: bytes
    payload: bytes
    packet_id: int
    retain: bool


class Packet(NamedTuple):
    """Any other packet: its first byte, and what follows the remaining length."""

    header: int
    body: bytes


class Stream:
    """Cuts what a socket brings into packets, wherever the chunks end."""

    def __init__(self, *, v5: bool) -> None:
        self._v5 = v5
        self._rest: list[bytes] = []
        self._missing = 0
        """How many bytes must come before there is anything to read."""

    def feed(self, chunk: bytes) -> Iterator[list[Publication] | Packet]:
        """Yield what CHUNK completes, in order; raise `Malformed`."""
        self._rest.append(chunk)
        self._missing -= len(chunk)
        if self._missing > 0:
            return
        data = b"".join(self._rest)
        publications: list[Publication] = []
        at, end = 0, len(data)
        while True:
            if end - at < 2:  # noqa: PLR2004 the shortest packet
                self._missing = at + 2 - end
                break
            length, start = data[at + 1], at + 2
            if length & _MORE:
                length, start = _length(data, at + 1)
            if start + length > end:
                self._missing = start + length - end
                break
            header, at = data[at], start + length
            if header & 0xF0 == _PUBLISH:
                publications.append(_publication(header, data, start, at, self._v5))
                continue
            if publications:
                yield publications
                publications = []
            yield Packet(header, data[start:at])
        self._rest = [data[at:]]
        if publications:
            yield publications


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return the length whose digits begin at AT, and where they end; past the end of DATA when digits are missing."""
    length, place = 0, 0
    for digit in data[at : at + _LENGTH_DIGITS]:
        length |= (digit & ~_MORE) << 7 * place
        place += 1
        if not digit & _MORE:
            return length, at + place
    if place == _LENGTH_DIGITS:
        raise Malformed("a length of more than four digits")
    return 0, at + place + 1


def _publication(header: int, data: bytes, start: int, stop: int, v5: bool) -> Publication:
    try:
        name, at = start + 2, start + 2 + (data[start] << 8 | data[start + 1])
        topic, packet_id = data[name:at], 0
        if header & _QOS:
            packet_id = data[at] << 8 | data[at + 1]
            at += 2
            if header & _QOS != _QOS_1 or not packet_id:
                raise Malformed("a PUBLISH above QoS 1, or without a packet id")
        if v5:
            length, at = data[at], at + 1
            if length & _MORE:
                length, at = _length(data, at - 1)
            at += length
    except IndexError:
        at = stop + 1
    if at > stop:
        raise Malformed("a PUBLISH shorter than it says")
    if not topic:  # we take no topic aliases [MQTT5-3.1.2-26], which leaves no reason for a topic without characters
        raise Malformed("a PUBLISH without a topic")
    return Publication(topic, data[at:stop], packet_id, bool(header & 1))
