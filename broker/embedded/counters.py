"""What the embedded broker counts, and the reasons it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Refusal(StrEnum):
    """Why a CONNECT was not accepted."""

    VERSION = "protocol_version"
    CLIENT_ID = "client_id"
    CREDENTIALS = "credentials"
    REVOKED = "revoked"
    NOT_OWNER = "not_owner"
    WILL = "will_topic"
    TOO_MANY = "too_many_sessions"
    MALFORMED = "malformed"
    TIMEOUT = "connect_timeout"
    FULL = "full"


class Closing(StrEnum):
    """Why an accepted connection ended. Only after `DISCONNECT` and `STOPPED` the will is not published."""

    DISCONNECT = "disconnect"
    LOST = "connection_lost"
    KEEPALIVE = "keepalive"
    TAKEN_OVER = "taken_over"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 a reason, not a token
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 a reason, not a token
    MALFORMED = "malformed"
    PACKET_TIMEOUT = "packet_timeout"
    SLOW_CONSUMER = "slow_consumer"
    FAILED = "internal_error"
    STOPPED = "stopped"


class Drop(StrEnum):
    """Why a message did not reach somebody, or was not kept."""

    FORBIDDEN = "forbidden"
    TOO_LARGE = "too_large"
    QUEUE_FULL = "queue_full"
    HELD_FULL = "held_full"
    RETAINED_FULL = "retained_full"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The counters at one moment; those by reason have an entry for each reason that has occurred."""

    connections_open: int = 0
    connections_total: int = 0
    sessions: int = 0
    subscriptions: int = 0
    retained: int = 0
    held: int = 0
    held_bytes: int = 0
    messages_in: int = 0
    messages_out: int = 0
    wills: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    closed: Mapping[str, int] = field(default_factory=dict)


class Counters:
    """Counted in the broker's thread alone."""

    def __init__(self) -> None:
        self.connections_total = 0
        self.messages_in = 0
        self.messages_out = 0
        self.wills = 0
        self.dropped: Counter[Drop] = Counter(dict.fromkeys(Drop, 0))
        self.refused: Counter[Refusal] = Counter(dict.fromkeys(Refusal, 0))
        self.closed: Counter[Closing] = Counter(dict.fromkeys(Closing, 0))
