"""Bytes in, meaning out. Total: a bad message becomes a `Rejected`, never an exception."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

from msgspec import Struct

from broker.link import Delivery
from models import payloads, topics
from models.errors import BadPayload, BadTopic, Refusal
from models.facts import Battery, Ended, Fix, Heard, Reason, Said, Signal, Stamp, Status, Text, Work, Worked, believed
from models.payloads import Activity, Presence, StatusText
from models.succession import Key
from models.topics import Address, Channel

DEFAULT_DEVICE = "default"
_STATUSES = {"online": Status.ONLINE, "away": Status.AWAY}
_DIGEST_BYTES = 8


class Decoded(Struct, frozen=True, gc=False):
    """A message that was understood. `message` tells it from the others of its session: its `seq`, or below zero a digest."""

    company: str
    user: str
    received: datetime
    signal: Signal
    payload: Presence | Activity | StatusText
    message: int
    raw: bytes = b""
    session: Key | None = None
    """Device and session that it belongs to, None for what belongs to the user alone."""

    @property
    def topic(self) -> str:
        match self.payload:
            case Presence():
                return Address(self.company, Channel.PRESENCE, self.user).topic
            case Activity():
                return Address(self.company, Channel.ACTIVITY, self.user).topic
            case StatusText():
                return Address(self.company, Channel.STATUS, self.user).topic


class Rejected(Struct, frozen=True, gc=False):
    """A message that was refused, and why: in words, and as the class that it is counted in."""

    topic: str
    payload: bytes
    received: datetime
    reason: str
    refusal: Refusal = Refusal.NOT_ADMITTED


class Ignored(Struct, frozen=True, gc=False):
    """A message that is not for us: our own notice, or a copy that a broker retained."""

    why: str


def decode(delivery: Delivery) -> Decoded | Rejected | Ignored:
    """Return what DELIVERY means."""
    if delivery.retained:
        return Ignored("retained")
    try:
        company, channel, user = topics.parse(delivery.topic)
        match channel:
            case Channel.PRESENCE:
                return _presence(company, user, delivery)
            case Channel.ACTIVITY:
                return _activity(company, user, delivery)
            case Channel.STATUS:
                return _status(company, user, delivery)
            case Channel.STATE | Channel.EVENTS:
                raise BadTopic(f"channel {channel} is the service's own")
    except BadTopic as error:
        return _rejected(delivery, str(error), Refusal.TOPIC)
    except BadPayload as error:
        return _rejected(delivery, str(error), error.refusal)


def _rejected(delivery: Delivery, reason: str, refusal: Refusal) -> Rejected:
    return Rejected(delivery.topic, delivery.payload, delivery.received_at, reason, refusal)


def digest(data: bytes) -> int:
    """Return a number below zero that stands for DATA."""
    return ~(int.from_bytes(blake2b(data, digest_size=_DIGEST_BYTES).digest()) >> 1)


def has_position(payload: Presence) -> bool:
    """Whether PAYLOAD gives a position; exactly 0,0 is what receivers say that have none."""
    return payload.latitude is not None and (payload.latitude != 0 or payload.longitude != 0)


def _check_names(company: str, user: str, payload: Presence | Activity | StatusText) -> None:
    """The topic says who speaks: brokers let nobody publish for another, but a payload may still name one."""
    other_user = payload.user_id is not None and payload.user_id != user
    if other_user or (payload.company_id is not None and payload.company_id != company):
        raise BadPayload("the payload names another user or company than the topic", Refusal.NAMES)


def _presence(company: str, user: str, delivery: Delivery) -> Decoded | Ignored:
    payload = payloads.read_presence(delivery.payload)
    if payload.source == payloads.OWN_SOURCE:
        return Ignored("own notice")
    _check_names(company, user, payload)
    received = delivery.received_at
    signal = _heard(payload, received) if payload.type == "heartbeat" else _ended(payload, received)
    message = digest(delivery.payload) if payload.seq is None else payload.seq
    key = signal.device or DEFAULT_DEVICE, signal.session or ""
    return Decoded(company, user, received, signal, payload, message, delivery.payload, key)


def _heard(payload: Presence, received: datetime) -> Heard:
    said = payload.at
    at = believed(said, received)
    stamp = Stamp(at, -1 if payload.seq is None else payload.seq)
    fix = work = battery = None
    if (said is None or said is at) and has_position(payload):
        fix = Fix(stamp, payload.latitude or 0.0, payload.longitude or 0.0, payload.accuracy)
    if payload.battery is not None:
        battery = Battery(stamp, payload.battery)
    if payload.project_id is not None:
        work = Work(stamp, payload.project_id, payload.task_id)
    device = payload.device or DEFAULT_DEVICE
    return Heard(received, device, payload.session or "", stamp, _STATUSES[payload.status], fix, battery, work)


def _ended(payload: Presence, received: datetime) -> Ended:
    device = payload.device or (DEFAULT_DEVICE if payload.session else None)
    return Ended(received, Reason(payload.reason), device, payload.session)


def _activity(company: str, user: str, delivery: Delivery) -> Decoded:
    payload = payloads.read_activity(delivery.payload)
    _check_names(company, user, payload)
    stamp = Stamp(believed(payload.at, delivery.received_at))
    task = None if payload.project_id is None else payload.task_id
    signal = Worked(delivery.received_at, Work(stamp, payload.project_id, task))
    return Decoded(company, user, delivery.received_at, signal, payload, digest(delivery.payload), delivery.payload)


def _status(company: str, user: str, delivery: Delivery) -> Decoded:
    payload = payloads.read_status(delivery.payload)
    _check_names(company, user, payload)
    message = payload.message or None
    text = Text(delivery.received_at, message, None if message is None else payload.until)
    signal = Said(delivery.received_at, text)
    return Decoded(company, user, delivery.received_at, signal, payload, digest(delivery.payload), delivery.payload)
