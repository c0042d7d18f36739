"""Who is in a virtual fleet, and which fleets there cannot be."""

from __future__ import annotations

from collections import Counter

import pytest

from cli.fleet.crew import roster
from cli.fleet.messages import Identity
from cli.fleet.options import FleetOptions
from models.errors import BadSetting
from models.topics import is_id


def no_token(_identity: Identity) -> str:
    raise AssertionError("nobody connects here")


@pytest.mark.parametrize("devices", [1, 4, 5, 25, 1_000])
def test_a_roster_has_as_many_devices_as_asked_for_and_no_two_alike(devices: int) -> None:
    identities = roster("acme", devices)
    assert len(set(identities)) == devices
    assert all(is_id(name) for identity in identities for name in identity)


def test_every_fourth_user_has_two_devices() -> None:
    devices = Counter(identity.user for identity in roster("acme", 500))
    assert Counter(devices.values()) == {1: 300, 2: 100}


@pytest.mark.parametrize(
    ("devices", "rate_hz", "duration_s", "option"),
    [
        (0, None, None, "--devices"),
        (1, 0.0, None, "--rate"),
        (1, float("nan"), None, "--rate"),
        (1, None, -1.0, "--duration"),
    ],
)
def test_an_impossible_fleet_is_refused(
    devices: int, rate_hz: float | None, duration_s: float | None, option: str
) -> None:
    with pytest.raises(BadSetting, match=option):
        FleetOptions("acme", devices, "mqtt://127.0.0.1", no_token, rate_hz, duration_s)
