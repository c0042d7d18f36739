"""Bytes to MQTT control packets: frames out of a stream, and the strict reading of what follows a CONNECT."""

from __future__ import annotations

from typing import Final, NamedTuple

from models.errors import FieldbeatError

CONNECT: Final = 1
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
SUBSCRIBE: Final = 8
UNSUBSCRIBE: Final = 10
PINGREQ: Final = 12
DISCONNECT: Final = 14

MORE: Final = 0x80
"""In a digit of the remaining length: another one follows [MQTT-2.2.3]."""
_LENGTH_DIGITS: Final = 4
_MAX_STRING: Final = 0xFFFF
_MAX_QOS: Final = 2
_MAX_FILTERS: Final = 1_000
"""In one packet: each costs time that others wait."""


class Malformed(FieldbeatError):
    """Bytes that are no packet of MQTT 3.1.1, or one that may not come now; the connection ends [MQTT-4.8.0-1]."""


class Frame(NamedTuple):
    """One control packet: its first byte, and what follows the remaining length. `cut`: only the beginning of that."""

    header: int
    body: bytes
    cut: bool = False


class FrameReader:
    """Cuts a stream into frames. Of a PUBLISH over MAX_PACKET it keeps the beginning; other long packets are refused."""

    def __init__(self, max_packet: int, kept_payload: int) -> None:
        self.max_packet = max_packet
        self._max_kept = 2 + _MAX_STRING + 2 + kept_payload
        self._buffer = b""
        self._at = 0
        self._rest = bytearray()
        self._need = 0
        self._header = 0
        self._left = 0

    @property
    def partial(self) -> bool:
        """Whether a packet has begun and not ended."""
        return bool(self._rest) or self._left > 0

    def feed(self, data: bytes) -> None:
        """Add what has arrived; read all frames before feeding more."""
        if self._rest and not self._left:
            self._rest += data
            if len(self._rest) < self._need:
                return
            data = bytes(self._rest)
            self._rest = bytearray()
        self._buffer = data
        self._at = 0

    def next(self) -> Frame | None:
        """Return the next whole frame, None when more bytes are needed; raise `Malformed`."""
        if self._left:
            return self._discard()
        buffer, at = self._buffer, self._at
        if len(buffer) - at < 2:  # noqa: PLR2004 the shortest packet
            self._wait(2)
            return None
        length, start = buffer[at + 1], at + 2
        if length & MORE:
            found = self._long_length(at + 1)
            if found is None:
                self._wait(len(buffer) - at + 1)
                return None
            length, start = found
            if length > self.max_packet:
                return self._begin_cut(buffer[at], length, start)
        end = start + length
        if end > len(buffer):
            self._wait(end - at)
            return None
        self._at = end
        return Frame(buffer[at], buffer[start:end])

    def _wait(self, need: int) -> None:
        if self._at < len(self._buffer):
            self._rest = bytearray(self._buffer[self._at :])
            self._need = need
            self._buffer = b""
            self._at = 0

    def _long_length(self, at: int) -> tuple[int, int] | None:
        """Return the remaining length whose digits begin at AT, and where they end [MQTT-2.2.3]."""
        length = 0
        digits = self._buffer[at : at + _LENGTH_DIGITS]
        for place, digit in enumerate(digits):
            length |= (digit & ~MORE) << 7 * place
            if not digit & MORE:
                return length, at + place + 1
        if len(digits) == _LENGTH_DIGITS:
            raise Malformed("remaining length of more than four digits")
        return None

    def _begin_cut(self, header: int, length: int, start: int) -> Frame | None:
        if header >> 4 != PUBLISH:
            raise Malformed(f"packet of {length} bytes")
        self._header, self._left, self._at, self._rest = header, length, start, bytearray()
        return self._discard()

    def _discard(self) -> Frame | None:
        taken = self._buffer[self._at : self._at + self._left]
        self._at += len(taken)
        self._left -= len(taken)
        self._rest += taken[: self._max_kept - len(self._rest)]
        if self._left:
            return None
        body = bytes(self._rest)
        self._rest = bytearray()
        return Frame(self._header, body, cut=True)


class Publish(NamedTuple):
    """A PUBLISH; the topic is still as it came, and `packet_id` is 0 at QoS 0."""

    topic: bytes
    payload: bytes
    qos: int
    packet_id: int
    retain: bool


def read_publish(header: int, body: bytes) -> Publish:
    """Read a PUBLISH [MQTT-3.3.1-2, MQTT-3.3.1-4, MQTT-2.3.1-1]."""
    if len(body) < 2:  # noqa: PLR2004 a string has a length of two bytes
        raise Malformed("PUBLISH without a topic")
    qos = header >> 1 & 3
    end = 2 + (body[0] << 8 | body[1])
    packet_id, start = 0, end
    if qos:
        start = end + 2
        packet_id = int.from_bytes(body[end:start], "big")
        if qos > _MAX_QOS or not packet_id:
            raise Malformed("PUBLISH with QoS 3 or packet id 0")
    elif header & 8:
        raise Malformed("PUBLISH with DUP at QoS 0")
    if start > len(body):
        raise Malformed("PUBLISH shorter than its topic")
    return Publish(body[2:end], body[start:], qos, packet_id, bool(header & 1))


def read_topic(raw: bytes) -> str:
    """Return the topic name RAW says [MQTT-1.5.3-1, MQTT-1.5.3-2, MQTT-3.3.2-2, MQTT-4.7.3-1]."""
    topic = read_text(raw)
    if not topic or "+" in topic or "#" in topic:
        raise Malformed("topic name that is empty or has a wildcard")
    return topic


def read_text(raw: bytes) -> str:
    """Return the text of an MQTT string."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Malformed("string that is not UTF-8") from None
    if "\0" in text:
        raise Malformed("string with U+0000")
    return text


def read_packet_id(body: bytes) -> int:
    """Return the packet id that is all of BODY."""
    if len(body) != 2:  # noqa: PLR2004 a packet id has two bytes
        raise Malformed("acknowledgement of the wrong length")
    return int.from_bytes(body, "big")


def read_string(body: bytes, at: int) -> tuple[bytes, int]:
    """Return the string at AT and where it ends."""
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    if at + 2 > len(body) or end > len(body):
        raise Malformed("string longer than its packet")
    return body[at + 2 : end], end


class Subscribe(NamedTuple):
    """A SUBSCRIBE: (filter, QoS) pairs; or an UNSUBSCRIBE, whose QoS are all 0."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


def read_subscribe(body: bytes, *, with_qos: bool) -> Subscribe:
    """Read a SUBSCRIBE or, without QoS, an UNSUBSCRIBE [MQTT-3.8.3-3, MQTT-3-8.3-4, MQTT-3.10.3-2]."""
    packet_id, at = int.from_bytes(body[:2], "big"), 2
    filters = []
    while at < len(body):
        raw, at = read_string(body, at)
        qos = 0
        if with_qos:
            if at >= len(body) or body[at] > _MAX_QOS:
                raise Malformed("SUBSCRIBE with a wrong QoS")
            qos, at = body[at], at + 1
        filters.append((read_text(raw), qos))
        if len(filters) > _MAX_FILTERS:
            raise Malformed(f"more than {_MAX_FILTERS} filters in one packet")
    if not packet_id or not filters:
        raise Malformed("SUBSCRIBE or UNSUBSCRIBE without a packet id or a filter")
    return Subscribe(packet_id, tuple(filters))
