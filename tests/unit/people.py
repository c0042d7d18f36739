"""Signals written short, and a user who lives through them: times are minutes after `START`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from models.events import Event, FellSilent
from models.facts import Battery, Ended, Fix, Heard, Reason, Said, Signal, Stamp, Status, Text, Work, Worked
from models.presence import advance, settle
from models.standing import Person, Standing, Terms, standing

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
TERMS = Terms()
"""The defaults of the contract: 15 minutes of silence, 10 seconds of grace."""
SECOND = 1 / 60


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


def heartbeat(
    when: float,
    session: str = "s1",
    device: str = "phone",
    *,
    at: float | None = None,
    seq: int = -1,
    status: Status = Status.ONLINE,
    place: tuple[float, float] | None = None,
    battery: float | None = None,
    project: str | None = None,
) -> Heard:
    stamp = Stamp(minute(when if at is None else at), seq)
    return Heard(
        minute(when),
        device,
        session,
        stamp,
        status,
        None if place is None else Fix(stamp, *place),
        None if battery is None else Battery(stamp, battery),
        None if project is None else Work(stamp, project, None),
    )


def will(when: float, session: str | None = "s1", device: str | None = "phone") -> Ended:
    return Ended(minute(when), Reason.CONNECTION_LOST, device, session)


def sign_off(when: float, session: str | None = "s1", device: str | None = "phone") -> Ended:
    return Ended(minute(when), Reason.SIGNED_OFF, device, session)


def revocation(when: float, device: str | None = None) -> Ended:
    return Ended(minute(when), Reason.TOKEN_REVOKED, device)


def activity(when: float, project: str | None, task: str | None = None, *, at: float | None = None) -> Worked:
    return Worked(minute(when), Work(Stamp(minute(when if at is None else at)), project, task))


def says(when: float, message: str | None, until: float | None = None) -> Said:
    return Said(minute(when), Text(minute(when), message, None if until is None else minute(until)))


class Life:
    """One user, and every event so far."""

    def __init__(self, *signals: Signal, terms: Terms = TERMS) -> None:
        self.person = Person()
        self.terms = terms
        self.told: list[Event] = []
        self.receive(*signals)

    def receive(self, *signals: Signal) -> list[Event]:
        """Live through SIGNALS; return what they announced."""
        return self._tell(advance, signals)

    def wait(self, *minutes: float) -> list[Event]:
        """Let the sweep come by at each of MINUTES; return what it announced."""
        return self._tell(settle, map(minute, minutes))

    def _tell(self, step: Any, whats: Iterable[object]) -> list[Event]:  # noqa: ANN401 either of two rules
        before = len(self.told)
        for what in whats:
            self.person, events = step(self.person, what, self.terms)
            self.told += events
        return self.told[before:]

    def at(self, when: float) -> Standing:
        """What is true at minute WHEN, whether or not the sweep has run."""
        return standing(self.person, minute(when), self.terms)

    def status(self, when: float) -> Status:
        return self.at(when).status

    def devices(self, when: float) -> dict[str, Status]:
        return {device.device: device.status for device in self.at(when).devices}

    @property
    def story(self) -> list[str]:
        """The types of all events on the events channel."""
        return [event.type for event in self.told if not isinstance(event, FellSilent)]
