"""Every error that Fieldbeat raises on purpose.

FieldbeatError
├── BadTopic     a topic or an id outside the grammar
├── BadPayload   bytes that are no message of their channel
├── TokenRefused a token that proves nothing; the reason is for the operator's log, never for the client
├── BadSetting   a setting or an option that cannot be used
├── NotFound     asked for something that is not there
├── LinkLost     the broker is out of reach
├── StoreFailed  the database cannot take the batch now
└── StoreRefused the database will never take the batch as it is
"""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """The classes of reasons for which messages are refused: few enough to count by, while the reason itself is free text."""

    TOPIC = "topic"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    FIELDS = "fields"
    NAMES = "names"
    DIALECT = "dialect"
    NOT_ADMITTED = "not_admitted"
    UNSTORABLE = "unstorable"


class FieldbeatError(Exception):
    """Something failed in a way that we know; its text says what to do next."""


class BadTopic(FieldbeatError):
    """A topic, a filter or an id outside the grammar."""


class BadPayload(FieldbeatError):
    """Bytes that are no message of their channel; the text is the reason kept with the refused message."""

    def __init__(self, reason: str, refusal: Refusal = Refusal.FIELDS) -> None:
        super().__init__(reason)
        self.refusal = refusal


class TokenRefused(FieldbeatError):
    """A token that proves nothing."""


class BadSetting(FieldbeatError):
    """A setting or an option that cannot be used; the text names it and says what it should be."""


class NotFound(FieldbeatError):
    """Asked for something that is not there."""


class LinkLost(FieldbeatError):
    """The broker is out of reach."""


class StoreFailed(FieldbeatError):
    """The database cannot take the batch now; nothing of it was written."""


class StoreRefused(FieldbeatError):
    """The database will never take the batch as it is; nothing of it was written."""
