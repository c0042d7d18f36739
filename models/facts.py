"""What is known of sessions and users, and the signals that add to it; every merge is a minimum or a maximum.

Minima and maxima commute, associate and absorb repeats, so that any order and any repetition of the same signals over any number
of workers leaves the same facts (contract 4.6). Facts about liveness (`heard`, `lost`, `left`) stay with their session. What a
device last reported (position, battery, activity) moves on to the device's newest session.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

CLOCK_SKEW = timedelta(minutes=2)
"""How far a device's clock may run ahead of ours before it is not believed."""


_NEVER = datetime.max.replace(tzinfo=UTC)


class Status(StrEnum):
    """What a user or a device is."""

    ONLINE = "online"
    AWAY = "away"
    OFFLINE = "offline"


class Reason(StrEnum):
    """Why a lease ended."""

    SIGNED_OFF = "signed_off"
    CONNECTION_LOST = "connection_lost"
    STALE_SESSION = "stale_session"
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 a reason, no secret


class Stamp(Struct, frozen=True, order=True, gc=False):
    """Which of two reports is the newer: by the device's time, then by `seq` (-1 for none)."""

    at: datetime
    seq: int = -1


class Fix(Struct, frozen=True, gc=False):
    """A position: degrees WGS 84, metres."""

    stamp: Stamp
    latitude: float
    longitude: float
    accuracy: float | None = None

    @property
    def rank(self) -> tuple[Stamp, float, float, float]:
        return self.stamp, self.latitude, self.longitude, -1.0 if self.accuracy is None else self.accuracy


class Battery(Struct, frozen=True, order=True, gc=False):
    """A charge in percent."""

    stamp: Stamp
    percent: float


class Word(Struct, frozen=True, order=True, gc=False):
    """The user's own word, `online` or `away`."""

    stamp: Stamp
    status: Status


class Work(Struct, frozen=True, gc=False):
    """The project and task that a user works on; no project means that the activity ended."""

    stamp: Stamp
    project: str | None
    task: str | None

    @property
    def rank(self) -> tuple[Stamp, str, str]:
        return self.stamp, self.project or "", self.task or ""


class Text(Struct, frozen=True, gc=False):
    """A free-text status, as set at `set_at` (our time of receipt)."""

    set_at: datetime
    message: str | None
    until: datetime | None = None

    @property
    def rank(self) -> tuple[datetime, str, datetime]:
        return self.set_at, self.message or "", _NEVER if self.until is None else self.until


class Session(Struct, frozen=True, gc=False):
    """The facts of one connection of one device; the empty id is the session of a device that sends none.

    `first` is the earliest receipt of any of its messages, `heard` the latest of a heartbeat, `lost` the earliest of its will, `left`
    the earliest of its sign-off, `superseded` the earliest `first` of a newer session that was heard, and `lapsed` when silence was
    found to end it.
    """

    device: str
    id: str
    first: datetime
    heard: datetime | None = None
    lost: datetime | None = None
    left: datetime | None = None
    left_reason: Reason = Reason.SIGNED_OFF
    superseded: datetime | None = None
    lapsed: datetime | None = None
    word: Word | None = None
    seen_before: datetime | None = None
    battery: Battery | None = None
    fix: Fix | None = None
    work: Work | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.device, self.id


class Heard(Struct, frozen=True, gc=False):
    """A heartbeat was received."""

    received: datetime
    device: str
    session: str
    stamp: Stamp
    status: Status | None = Status.ONLINE
    fix: Fix | None = None
    battery: Battery | None = None
    work: Work | None = None

    def repeated(self) -> Heard:
        """Return what a second copy of this heartbeat still says: only that the device lives."""
        return Heard(self.received, self.device, self.session, self.stamp, status=None)


class Ended(Struct, frozen=True, gc=False):
    """A will or a sign-off was received, or a token revoked: of one session, of a device's current one, or of all of the user's."""

    received: datetime
    reason: Reason
    device: str | None = None
    session: str | None = None


class Worked(Struct, frozen=True, gc=False):
    """An activity was set or ended."""

    received: datetime
    work: Work


class Said(Struct, frozen=True, gc=False):
    """A status text was set or cleared."""

    received: datetime
    text: Text


Signal = Heard | Ended | Worked | Said


def believed(at: datetime | None, received: datetime) -> datetime:
    """Return the device's time, or ours where it gives none or runs ahead of ours."""
    return received if at is None or at > received + CLOCK_SKEW else at


def earliest(mine: datetime | None, other: datetime | None) -> datetime | None:
    if mine is None or (other is not None and other < mine):
        return other
    return mine


def latest(mine: datetime | None, other: datetime | None) -> datetime | None:
    if mine is None or (other is not None and other > mine):
        return other
    return mine


def newest_fix(mine: Fix | None, other: Fix | None) -> Fix | None:
    if mine is None or other is None:
        return other if mine is None else mine
    return other if other.stamp > mine.stamp or (other.stamp == mine.stamp and other.rank > mine.rank) else mine


def newest_battery(mine: Battery | None, other: Battery | None) -> Battery | None:
    return other if mine is None or (other is not None and other > mine) else mine


def newest_word(mine: Word | None, other: Word | None) -> Word | None:
    return other if mine is None or (other is not None and other > mine) else mine


def newest_work(mine: Work | None, other: Work | None) -> Work | None:
    return other if mine is None or (other is not None and other.rank > mine.rank) else mine


def newest_text(mine: Text | None, other: Text | None) -> Text | None:
    return other if mine is None or (other is not None and other.rank > mine.rank) else mine


def last_seen(session: Session) -> datetime | None:
    """Return when the session's device was last heard, in this session or in one before it."""
    return latest(session.heard, session.seen_before)


def renewed(session: Session, signal: Heard) -> Session:
    """Return SESSION with the heartbeat SIGNAL merged into its facts."""
    return replace(
        session,
        heard=latest(session.heard, signal.received),
        word=session.word if signal.status is None else newest_word(session.word, Word(signal.stamp, signal.status)),
        battery=session.battery if signal.battery is None else newest_battery(session.battery, signal.battery),
        fix=session.fix if signal.fix is None else newest_fix(session.fix, signal.fix),
        work=session.work if signal.work is None else newest_work(session.work, signal.work),
    )


def inherit(session: Session, older: Session) -> Session:
    """Return SESSION with what the device reported in its OLDER session."""
    return replace(
        session,
        seen_before=latest(session.seen_before, last_seen(older)),
        battery=newest_battery(session.battery, older.battery),
        fix=newest_fix(session.fix, older.fix),
        work=newest_work(session.work, older.work),
    )
