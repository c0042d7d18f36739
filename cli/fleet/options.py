"""What fleet to drive, where, and with which tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from broker.access import Claims, Role
from broker.tokens import issue
from cli import wiring
from cli.fleet.messages import Identity
from cli.settings import Settings
from models.errors import BadSetting

_TOKEN_LIFETIME = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What fleet to drive where. Without `rate_hz` (heartbeats a second of the whole fleet) each device reports every 5 s;
    without `duration_s` the fleet drives until it is stopped. The same `seed` gives the same fleet.
    """

    company: str
    devices: int
    broker_url: str
    token: Callable[[Identity], str] = field(repr=False)
    """Called for each CONNECT, since tokens expire."""
    rate_hz: float | None = None
    duration_s: float | None = None
    seed: int = 1

    @classmethod
    def of(
        cls,
        settings: Settings,
        company: str,
        devices: int,
        *,
        broker_url: str | None = None,
        rate_hz: float | None = None,
        duration_s: float | None = None,
        seed: int = 1,
    ) -> Self:
        """Return the options of a fleet on the configured broker, or on the one at BROKER_URL, with tokens of the configured key."""
        key = wiring.issuing_key(settings)
        lifetime = min(_TOKEN_LIFETIME, settings.max_lifetime)

        def token(identity: Identity) -> str:
            now = wiring.now()
            claims = Claims(identity.company, identity.user, Role.DEVICE, now + lifetime, now, device=identity.device)
            return issue(key, claims)

        return cls(company, devices, broker_url or settings.broker, token, rate_hz, duration_s, seed)

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise BadSetting("--devices must be at least 1")
        if self.rate_hz is not None and not self.rate_hz > 0:
            raise BadSetting("--rate must be over 0 heartbeats a second")
        if self.duration_s is not None and not self.duration_s > 0:
            raise BadSetting("--duration must be over 0 seconds")
