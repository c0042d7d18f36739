"""Who may do what: pure rules over claims, client ids and topics. Every broker asks here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from models import topics
from models.errors import BadTopic

SERVICE_PREFIX = "fieldbeat:"
"""Client ids of the service begin with it; nobody else may use it."""


class Role(StrEnum):
    """What a token is for."""

    DEVICE = "device"
    DASHBOARD = "dashboard"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token proves. `issued_at` and `expires_at` are aware UTC times."""

    company: str
    user: str
    role: Role
    expires_at: datetime
    issued_at: datetime | None = None
    token_id: str | None = None
    device: str | None = None


def may_connect(claims: Claims, client_id: str) -> bool:
    """Whether CLIENT_ID is one that the holder may use, so that nobody can disturb a session that is not theirs."""
    if claims.role is Role.SERVICE or client_id.startswith(SERVICE_PREFIX):
        return claims.role is Role.SERVICE and client_id.startswith(SERVICE_PREFIX)
    own = f"{claims.company}:{claims.user}"
    if client_id == own or client_id.startswith(own + ":"):
        return True
    return claims.role is Role.DASHBOARD and ":" not in client_id


def may_publish(claims: Claims, topic: str) -> bool:
    """Whether the holder may publish to TOPIC; wills and retained messages are asked the same question."""
    match claims.role:
        case Role.SERVICE:
            return topic.startswith((f"{topics.ROOT}/", "fieldbeat/")) and not {"#", "+"} & set(topic)
        case Role.DEVICE:
            try:
                company, channel, user = topics.parse(topic)
            except BadTopic:
                return False
            return company == claims.company and user == claims.user and channel in topics.FROM_DEVICES
        case Role.DASHBOARD:
            return False


def may_subscribe(claims: Claims, pattern: str) -> bool:
    """Whether the holder may use the filter PATTERN; of a shared subscription its inner filter counts."""
    if pattern.startswith("$share/"):
        group, _, inner = pattern.removeprefix("$share/").partition("/")
        named = group != "" and not {"#", "+"} & set(group)  # [MQTT-4.8.2-1, MQTT-4.8.2-2]
        return named and not inner.startswith("$") and may_subscribe(claims, inner)
    return topics.is_filter(pattern) and may_receive(claims, pattern)


def may_receive(claims: Claims, topic: str) -> bool:
    """Whether a message on TOPIC may be delivered to the holder, live, retained or queued."""
    if claims.role is Role.SERVICE:
        return topic.startswith((f"{topics.ROOT}/", "fieldbeat/"))
    return topic == topics.SERVICE or topic.startswith(f"{topics.ROOT}/{claims.company}/")
