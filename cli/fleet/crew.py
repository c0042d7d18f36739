"""Who is in a fleet: its users, which devices they have, and on which routes of which town they are."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from cli.fleet.device import Habits, VirtualDevice
from cli.fleet.messages import Identity
from cli.fleet.options import FleetOptions
from cli.fleet.route import TOWNS, Route

_PERIOD_S = 5.0
_CONNECTS_PER_S = 200.0
"""How fast a fleet comes up: no broker likes all of it at once."""

_NAMES = ("asha", "ben", "carla", "dmitri", "elif", "femi", "grace", "hana", "ivan", "jorge", "kofi", "lena")
_DEVICES = ("phone", "tablet")
_TWO_DEVICES_EVERY = 4
_CREW = 50
"""How many devices a town has at least, if there are several towns."""


def roster(company: str, devices: int) -> list[Identity]:
    """Return DEVICES devices; every fourth user has two."""
    identities: list[Identity] = []
    number = 0
    while len(identities) < devices:
        user = f"{_NAMES[number % len(_NAMES)]}-{number + 1:02d}"
        number += 1
        own = _DEVICES if number % _TWO_DEVICES_EVERY == 0 else _DEVICES[:1]
        identities += [Identity(company, user, device) for device in own]
    return identities[:devices]


def virtual_devices(options: FleetOptions, identities: Iterable[Identity]) -> Iterator[VirtualDevice]:
    """Yield the virtual device of each of IDENTITIES, on its way from now on."""
    rate_hz = options.rate_hz or options.devices / _PERIOD_S
    habits = Habits(period_s=options.devices / rate_hz)
    epoch = datetime.now(UTC)
    # A small fleet is in one town: on a map of the world nobody is seen to move.
    towns = tuple(TOWNS.values())[: max(1, options.devices // _CREW)]
    for place, identity in enumerate(identities):
        # Both devices of a user are in the same van, so they take the same route.
        route_rng = random.Random(f"{options.seed}/{identity.user}")  # noqa: S311 repeatable on purpose
        device_rng = random.Random(f"{options.seed}/{identity.client_id}")  # noqa: S311 repeatable on purpose
        route = Route(route_rng, route_rng.choice(towns))
        yield VirtualDevice(identity, route, device_rng, habits, epoch, place / _CONNECTS_PER_S)
