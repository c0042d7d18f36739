"""Who may do what, as one table: asked of the pure policy, of the embedded broker and of Mosquitto alike."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from broker.access import Claims, Role


class Access(StrEnum):
    """What somebody tries."""

    CONNECT = "connect as"
    PUBLISH = "publish to"
    SUBSCRIBE = "subscribe to"
    RECEIVE = "receive from"


class Case(NamedTuple):
    """One question and its answer. TOPIC is a topic, a filter or, for CONNECT, a client id."""

    who: str
    access: Access
    topic: str
    answer: bool

    def __str__(self) -> str:
        return f"{self.who} {'may' if self.answer else 'may not'} {self.access} {self.topic or 'nothing'}"


_FAR = datetime(2100, 1, 1, tzinfo=UTC)
WHO = {
    "device": Claims("acme", "alice", Role.DEVICE, _FAR),
    "dashboard": Claims("acme", "boss", Role.DASHBOARD, _FAR),
    "service": Claims("ops", "ingest", Role.SERVICE, _FAR),
}
CLIENT_ID = {"device": "acme:alice", "dashboard": "boss-browser", "service": "fieldbeat:ingest"}
"""A client id that each may use."""

_ALLOWED: dict[tuple[str, Access], tuple[str, ...]] = {
    ("device", Access.CONNECT): ("acme:alice", "acme:alice:tablet-7", "acme:alice:"),
    ("device", Access.PUBLISH): (
        "company/acme/presence/alice",
        "company/acme/activity/alice",
        "company/acme/status/alice",
    ),
    ("device", Access.SUBSCRIBE): (
        "company/acme/#",
        "company/acme/state/+",
        "company/acme/+/alice",
        "fieldbeat/service",
        "$share/group/company/acme/#",
    ),
    ("device", Access.RECEIVE): ("company/acme/state/bob", "company/acme/anything", "fieldbeat/service"),
    ("dashboard", Access.CONNECT): ("boss-browser", "acme:boss", "acme:boss:2"),
    ("dashboard", Access.SUBSCRIBE): (
        "company/acme/#",
        "company/acme/events/+",
        "fieldbeat/service",
        "$share/g/company/acme/+/+",
    ),
    ("dashboard", Access.RECEIVE): ("company/acme/presence/alice", "fieldbeat/service"),
    ("service", Access.CONNECT): ("fieldbeat:ingest", "fieldbeat:worker:2"),
    ("service", Access.PUBLISH): (
        "company/acme/state/alice",
        "company/other/events/bob",
        "company/acme/presence/alice",
        "fieldbeat/service",
    ),
    ("service", Access.SUBSCRIBE): (
        "company/#",
        "company/+/presence/+",
        "$share/ingest/company/+/presence/+",
        "fieldbeat/#",
    ),
    ("service", Access.RECEIVE): ("company/other/status/bob", "fieldbeat/service"),
}
_REFUSED: dict[tuple[str, Access], tuple[str, ...]] = {
    ("device", Access.CONNECT): ("acme:bob", "acme:alice2", "other:alice", "alice", "fieldbeat:ingest"),
    ("device", Access.PUBLISH): (
        "company/acme/presence/bob",
        "company/acme/presence/alice2",
        "company/acme/presence/alice/extra",
        "company/acme/presence",
        "company/acme/state/alice",
        "company/acme/events/alice",
        "company/acme/other/alice",
        "company/other/presence/alice",
        "company/acme2/presence/alice",
        "company//presence/alice",
        "COMPANY/acme/presence/alice",
        "fieldbeat/service",
        "$SYS/broker/uptime",
        "/company/acme/presence/alice",
    ),
    ("device", Access.SUBSCRIBE): (
        "#",
        "+/acme/#",
        "company/#",
        "company/+/presence/alice",
        "company/other/#",
        "company/acme2/#",
        "fieldbeat/#",
        "fieldbeat/+",
        "$SYS/#",
        "$share/group/#",
        "$share/group/company/other/#",
        "$share/group/$share/group/company/acme/#",
    ),
    ("device", Access.RECEIVE): (
        "company/other/state/bob",
        "company/acme",
        "company/acme2/state/x",
        "fieldbeat/other",
        "$SYS/x",
    ),
    ("dashboard", Access.CONNECT): ("acme:alice", "other:boss", "acme:boss2", "fieldbeat:web"),
    ("dashboard", Access.PUBLISH): ("company/acme/presence/boss", "company/acme/state/alice", "fieldbeat/service"),
    ("dashboard", Access.SUBSCRIBE): ("#", "company/+/#", "company/other/state/+", "$share/g/company/other/#"),
    ("dashboard", Access.RECEIVE): ("company/other/events/bob", "companyacme/x"),
    ("service", Access.CONNECT): ("ingest", "ops:ingest", "fieldbeat"),
    ("service", Access.PUBLISH): ("other/topic", "$SYS/broker/uptime", "company"),
    ("service", Access.SUBSCRIBE): ("#", "+/acme/#", "$SYS/#", "$share/ingest/#"),
    ("service", Access.RECEIVE): ("other/topic", "$SYS/broker/uptime"),
}
CASES = tuple(
    Case(who, access, topic, answer)
    for table, answer in ((_ALLOWED, True), (_REFUSED, False))
    for (who, access), topics in table.items()
    for topic in topics
)

NO_FILTERS = (
    "",
    "company/acme/#/x",
    "company/acme/a#",
    "company/acme/+x",
    "company/acme/x+/y",
    "$share/group",
    "$share/group/",
    "$share//company/acme/#",
    "$share/+/company/acme/#",
)
"""Text that is no topic filter. Libraries refuse to send it, so it is asked of the pure policy and of its copy in C."""
