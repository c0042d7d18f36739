"""The topic grammar, ``company/<company>/<channel>/<user>``: the only file that knows it."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from models.errors import BadTopic

ROOT = "company"
SERVICE = "fieldbeat/service"
"""Retained by the service alone: is the service itself alive?"""

ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
"""Ids of companies, users, devices and sessions."""
ID_RULE = "must be 1 to 64 of A-Z a-z 0-9 _ -"
"""The same for people."""


class Channel(StrEnum):
    """What the fourth of a company's topics is about."""

    PRESENCE = "presence"
    ACTIVITY = "activity"
    STATUS = "status"
    STATE = "state"
    EVENTS = "events"


FROM_DEVICES = frozenset({Channel.PRESENCE, Channel.ACTIVITY, Channel.STATUS})
"""The channels on which devices speak; the others belong to the service."""

INGEST_FILTERS = tuple(f"{ROOT}/+/{channel}/+" for channel in sorted(FROM_DEVICES))
"""What the ingest worker subscribes to: one filter a channel, so that no message arrives twice."""

_LEVELS = 4
_REMEMBERED = 65_536
_MAX_FILTER_BYTES = 65_535
_CHANNELS = {str(channel): channel for channel in Channel}
_TOPIC = re.compile(f"{ROOT}/({ID.pattern})/({'|'.join(_CHANNELS)})/({ID.pattern})", re.ASCII)


@lru_cache(_REMEMBERED)
def is_id(text: str) -> bool:
    """Whether TEXT may name a company, a user, a device or a session."""
    return ID.fullmatch(text) is not None


def checked_id(text: str, what: str) -> str:
    """Return TEXT, or raise `BadTopic` that says which WHAT it cannot name."""
    if not is_id(text):
        raise BadTopic(f"{what} {text[:80]!r} {ID_RULE}")
    return text


class Address(NamedTuple):
    """Where a message belongs. Build one with `address` or `parse`, which check it."""

    company: str
    channel: Channel
    user: str

    @property
    def topic(self) -> str:
        return f"{ROOT}/{self.company}/{self.channel}/{self.user}"


def address(company: str, channel: Channel, user: str) -> Address:
    """Return the checked address; raise `BadTopic` for ids outside the grammar."""
    return Address(checked_id(company, "company"), channel, checked_id(user, "user"))


@lru_cache(_REMEMBERED)
def parse(topic: str) -> Address:
    """Return the address that TOPIC names, or raise `BadTopic`."""
    if found := _TOPIC.fullmatch(topic):
        return Address(found[1], _CHANNELS[found[2]], found[3])
    # Something about it is wrong: say what.
    levels = topic.split("/")
    if len(levels) != _LEVELS or levels[0] != ROOT:
        raise BadTopic(f"topic {topic[:120]!r} is not {ROOT}/<company>/<channel>/<user>")
    channel = _CHANNELS.get(levels[2])
    if channel is None:
        raise BadTopic(f"topic {topic[:120]!r} names no channel of ours")
    return address(levels[1], channel, levels[3])


def is_filter(pattern: str) -> bool:
    """Whether PATTERN is a topic filter [MQTT-4.7.1-1..3, MQTT-4.7.3-1..3]."""
    if not pattern or "\0" in pattern or len(pattern.encode("utf-8", "surrogatepass")) > _MAX_FILTER_BYTES:
        return False
    levels = pattern.split("/")
    return all(
        (level == "#" and place == len(levels) - 1) or level == "+" or not {"#", "+"} & set(level)
        for place, level in enumerate(levels)
    )


def matches(pattern: str, topic: str) -> bool:
    """Whether TOPIC is one of those that the filter PATTERN selects [MQTT-4.7.1-2, MQTT-4.7.2-1]."""
    if topic.startswith("$") and not pattern.startswith("$"):
        return False
    wanted, given = pattern.split("/"), topic.split("/")
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(given) or level not in ("+", given[place]):
            return False
    return len(wanted) == len(given)
