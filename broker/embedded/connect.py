"""The CONNECT packet read strictly, and its answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from broker.embedded.frames import Malformed, read_string, read_text, read_topic

ACCEPTED: Final = 0
UNACCEPTABLE_VERSION: Final = 1
IDENTIFIER_REJECTED: Final = 2
SERVER_UNAVAILABLE: Final = 3
NOT_AUTHORIZED: Final = 5

_LEVEL_3_1_1: Final = 4
_LEVEL_5: Final = 5
_USERNAME, _PASSWORD, _WILL_RETAIN, _WILL_QOS, _WILL, _CLEAN, _RESERVED = 0x80, 0x40, 0x20, 0x18, 0x04, 0x02, 0x01
_MAX_QOS: Final = 2


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes when the connection ends without a DISCONNECT."""

    topic: str
    payload: bytes = field(repr=False)
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT of MQTT 3.1.1. `keepalive_s` 0 means none."""

    client_id: str
    clean_session: bool
    keepalive_s: int
    username: str | None = None
    password: bytes | None = field(default=None, repr=False)
    will: Will | None = None


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """A CONNECT of another version of MQTT, with the answer that its version expects."""

    answer: bytes


def connack(code: int, *, session_present: bool = False) -> bytes:
    """Return a CONNACK of MQTT 3.1.1."""
    return bytes((0x20, 2, session_present, code))


def read_connect(body: bytes) -> Connect | OtherVersion:
    """Read a CONNECT; raise `Malformed` [MQTT-3.1.2-1, MQTT-3.1.2-2]."""
    name, at = read_string(body, 0)
    level = body[at] if at < len(body) else 0
    if name == b"MQTT" and level == _LEVEL_3_1_1:
        return _read_3_1_1(body, at + 1)
    if name == b"MQTT" and level == _LEVEL_5:
        # MQTT 5 section 3.2: no session, 0x84 Unsupported Protocol Version, no properties.
        return OtherVersion(b"\x20\x03\x00\x84\x00")
    if name in (b"MQTT", b"MQIsdp"):
        return OtherVersion(connack(UNACCEPTABLE_VERSION))
    raise Malformed("unknown protocol name")


def _read_3_1_1(body: bytes, at: int) -> Connect:
    if len(body) < at + 3:
        raise Malformed("CONNECT without flags and keep alive")
    flags, keepalive_s, at = body[at], int.from_bytes(body[at + 1 : at + 3], "big"), at + 3
    _check_flags(flags)
    raw, at = read_string(body, at)
    client_id, will, username, password = read_text(raw), None, None, None
    if flags & _WILL:
        topic, at = read_string(body, at)
        payload, at = read_string(body, at)
        will = Will(read_topic(topic), payload, (flags & _WILL_QOS) >> 3, bool(flags & _WILL_RETAIN))
    if flags & _USERNAME:
        raw, at = read_string(body, at)
        username = read_text(raw)
    if flags & _PASSWORD:
        password, at = read_string(body, at)
    if at != len(body):
        raise Malformed("bytes after the end of CONNECT")
    return Connect(client_id, bool(flags & _CLEAN), keepalive_s, username, password, will)


def _check_flags(flags: int) -> None:
    """[MQTT-3.1.2-3, MQTT-3.1.2-11, MQTT-3.1.2-14, MQTT-3.1.2-22]."""
    if flags & _RESERVED:
        raise Malformed("CONNECT with its reserved flag")
    if (flags & _WILL_QOS) >> 3 > _MAX_QOS:
        raise Malformed("CONNECT with a will of QoS 3")
    if not flags & _WILL and flags & (_WILL_QOS | _WILL_RETAIN):
        raise Malformed("CONNECT with flags of a will that is not there")
    if flags & _PASSWORD and not flags & _USERNAME:
        raise Malformed("CONNECT with a password and no username")
