"""What the service announces: events in the past tense, notices, and the state of a user; each knows its channel and its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from models.facts import Fix, Reason, Stamp, Status
from models.payloads import OWN_SOURCE
from models.topics import Channel


def rfc3339(time: datetime | None) -> str | None:
    """Return the aware UTC TIME as `2026-11-22T10:00:00.000Z`."""
    return None if time is None else time.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _float(said: float | None) -> float | None:
    """Return the number that JSON SAID, which makes no difference between 80 and 80.0."""
    return None if said is None else float(said)


def number(value: float | None) -> float | int | None:
    """Return VALUE as JSON's shortest number: 80, not 80.0."""
    return int(value) if value is not None and value.is_integer() else value


class WentOnline(Struct, frozen=True, gc=False):
    """The user's first lease began."""

    at: datetime
    device: str

    type = "user:online"

    def details(self) -> dict[str, Any]:
        return {"device": self.device}


class WentOffline(Struct, frozen=True, gc=False):
    """The user's last lease ended."""

    at: datetime
    device: str
    reason: Reason

    type = "user:offline"

    def details(self) -> dict[str, Any]:
        return {"device": self.device, "reason": str(self.reason)}


class ActivityChanged(Struct, frozen=True, gc=False):
    """The user works on something else, or no longer."""

    at: datetime
    project: str | None
    task: str | None

    type = "activity:changed"

    def details(self) -> dict[str, Any]:
        return {"projectId": self.project, "taskId": self.task}


class StatusUpdated(Struct, frozen=True, gc=False):
    """The user's status text was set, cleared, or ran out."""

    at: datetime
    message: str | None

    type = "status:updated"

    def details(self) -> dict[str, Any]:
        return {"statusMessage": self.message, "statusUpdatedAt": rfc3339(self.at)}


class FellSilent(Struct, frozen=True, gc=False):
    """One session's lease ended by silence: said on the presence channel, as the will that never came."""

    at: datetime
    device: str
    session: str

    type = "offline"

    def details(self) -> dict[str, Any]:
        said = {"device": self.device, "session": self.session or None, "reason": str(Reason.STALE_SESSION)}
        return {key: value for key, value in said.items() if value is not None}


Event = WentOnline | WentOffline | ActivityChanged | StatusUpdated | FellSilent


def channel_of(event: Event) -> Channel:
    return Channel.PRESENCE if isinstance(event, FellSilent) else Channel.EVENTS


def encode_event(event: Event, event_id: str, company: str, user: str) -> bytes:
    """Return the JSON of EVENT with its stable id, a UUIDv7."""
    if isinstance(event, FellSilent):
        notice = {
            "type": event.type,
            **event.details(),
            "source": OWN_SOURCE,
            "eventId": event_id,
            "at": rfc3339(event.at),
        }
        return msgspec.json.encode(notice)
    head = {"id": event_id, "type": event.type, "companyId": company, "userId": user, "timestamp": rfc3339(event.at)}
    return msgspec.json.encode(head | event.details())


class DeviceState(Struct, frozen=True, gc=False):
    """One device of a user, as the state shows it."""

    device: str
    status: Status
    last_seen: datetime | None
    battery: float | None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> DeviceState:
        return cls(said["device"], Status(said["status"]), _time(said["lastSeenAt"]), _float(said["battery"]))

    def to_json(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "status": str(self.status),
            "lastSeenAt": rfc3339(self.last_seen),
            "battery": number(self.battery),
        }


class State(Struct, frozen=True, gc=False):
    """The merged state of one user, true at the moment it was made."""

    company: str
    user: str
    rev: int
    status: Status
    reason: Reason | None
    since: datetime | None
    last_seen: datetime | None
    fix: Fix | None
    project: str | None
    task: str | None
    message: str | None
    message_updated: datetime | None
    devices: Sequence[DeviceState]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> State:
        """Return the state that `to_json` made SAID of; a fix comes back without the `seq` of its message."""
        at = _time(said["lastFixAt"])
        fix = None
        if at is not None:
            fix = Fix(
                Stamp(at), float(said["lastLatitude"]), float(said["lastLongitude"]), _float(said["lastAccuracy"])
            )
        return cls(
            company=said["companyId"],
            user=said["userId"],
            rev=said["rev"],
            status=Status(said["status"]),
            reason=said["reason"] and Reason(said["reason"]),
            since=_time(said["since"]),
            last_seen=_time(said["lastSeenAt"]),
            fix=fix,
            project=said["currentProjectId"],
            task=said["currentTaskId"],
            message=said["statusMessage"],
            message_updated=_time(said["statusUpdatedAt"]),
            devices=[DeviceState.of(device) for device in said["devices"]],
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object that the `state` channel, `who --json` and the read API show."""
        fix = self.fix
        return {
            "type": "presence:update",
            "companyId": self.company,
            "userId": self.user,
            "rev": self.rev,
            "status": str(self.status),
            "reason": self.reason and str(self.reason),
            "since": rfc3339(self.since),
            "lastSeenAt": rfc3339(self.last_seen),
            "lastLatitude": fix and fix.latitude,
            "lastLongitude": fix and fix.longitude,
            "lastAccuracy": fix and fix.accuracy,
            "lastFixAt": rfc3339(None if fix is None else fix.stamp.at),
            "currentProjectId": self.project,
            "currentTaskId": self.task,
            "statusMessage": self.message,
            "statusUpdatedAt": rfc3339(self.message_updated),
            "devices": [device.to_json() for device in self.devices],
        }
