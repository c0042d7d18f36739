"""A message on its way out, and its bytes on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from broker.embedded.holds import Hold

_PUBLISH: Final = 0x30
_DUP: Final = 0x08
_RETAIN: Final = 0x01


def remaining_length(length: int) -> bytes:
    """Encode LENGTH [MQTT-2.2.3]."""
    if length < 0x80:  # noqa: PLR2004 one digit of seven bits
        return bytes((length,))
    digits = bytearray()
    while length > 0x7F:  # noqa: PLR2004 a digit has seven bits
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    digits.append(length)
    return bytes(digits)


def string(text: str) -> bytes:
    """Encode TEXT with its length in front [MQTT-1.5.3]."""
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


class Message:
    """One application message, shared by all who get it. Nothing changes it; QoS 0 bytes are made once."""

    __slots__ = ("_bytes_at_qos_0", "payload", "qos", "topic", "topic_string")

    def __init__(self, topic: str, topic_string: bytes, payload: bytes, qos: int) -> None:
        self.topic = topic
        self.topic_string = topic_string
        self.payload = payload
        self.qos = qos
        self._bytes_at_qos_0 = b""

    def packet(self, qos: int, packet_id: int, *, retain: bool, dup: bool = False) -> bytes:
        """Return this message as a PUBLISH."""
        if not qos and not retain:
            if not self._bytes_at_qos_0:
                self._bytes_at_qos_0 = self._encode(_PUBLISH, b"")
            return self._bytes_at_qos_0
        header = _PUBLISH | qos << 1 | (_RETAIN if retain else 0) | (_DUP if dup else 0)
        return self._encode(header, packet_id.to_bytes(2, "big") if qos else b"")

    def _encode(self, header: int, packet_id: bytes) -> bytes:
        length = remaining_length(len(self.topic_string) + len(packet_id) + len(self.payload))
        return b"".join((bytes((header,)), length, self.topic_string, packet_id, self.payload))


class Outgoing(NamedTuple):
    """One message for one subscriber. `hold`: whose acknowledgement waits for this subscriber's."""

    message: Message
    qos: int
    retain: bool
    hold: Hold | None
