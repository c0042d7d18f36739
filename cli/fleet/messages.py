"""What virtual devices say: heartbeats, wills, sign-offs, activities and status texts as bytes (contract 3)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import NamedTuple

from models.topics import Channel, address


class Identity(NamedTuple):
    """Who speaks."""

    company: str
    user: str
    device: str

    @property
    def client_id(self) -> str:
        return f"{self.company}:{self.user}:{self.device}"

    def topic(self, channel: Channel) -> str:
        return address(self.company, channel, self.user).topic


class Report(NamedTuple):
    """What a device knows of itself: degrees WGS 84, metres, m/s, percent; None is not said at all."""

    latitude: float | None = None
    longitude: float | None = None
    accuracy: float | None = None
    altitude: float | None = None
    speed: float | None = None
    heading: float | None = None
    battery: float | None = None


def heartbeat(device: str, session: str, seq: int, at: datetime | None, report: Report) -> bytes:
    """Return a heartbeat; what is not known is left out."""
    known = {name: value for name, value in report._asdict().items() if value is not None}
    return _json({"device": device, "session": session, "seq": seq} | ({} if at is None else {"at": _time(at)}) | known)


def will(device: str, session: str) -> bytes:
    """Return the last will of one session."""
    return _json({"type": "offline", "device": device, "session": session, "reason": "connection_lost"})


def sign_off(device: str, session: str, seq: int, at: datetime) -> bytes:
    """Return what a device says before DISCONNECT, so that the broker discards its will [MQTT-3.1.2-10]."""
    said = {"type": "offline", "device": device, "session": session, "seq": seq, "at": _time(at)}
    return _json(said | {"reason": "signed_off"})


def activity(device: str, at: datetime, project: str | None, task: str | None) -> bytes:
    """Return what the user works on; no project ends the activity."""
    return _json({"projectId": project, "taskId": task, "device": device, "at": _time(at)})


def status(message: str | None) -> bytes:
    """Return the user's free-text status; None clears it."""
    return _json({"message": message})


def _time(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
