"""What a heartbeat costs with few users and with a million: first contact and everyday life, apart."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.parts import WAITING, costs, on_postgresql

USERS = (20, 2_000, 20_000, 200_000, 1_000_000)


def at_scale(seconds: float, counts: tuple[int, ...] = USERS) -> list[dict[str, Any]]:
    """Return for each number of users what it costs to hear everybody once, and then to hear them for SECONDS."""
    return [_with_users(users, seconds) for users in counts]


def _with_users(users: int, seconds: float) -> dict[str, Any]:
    print(f"{users:,} users", file=sys.stderr)
    with on_postgresql() as (rig, _), rig.load(users).opened() as flow:
        first = rig.push(flow, lambda room: flow.publish(flow.round, room=room))
        steady = rig.push(flow, lambda room: flow.publish(seconds=seconds, room=room), WAITING)
        return {"users": users, "first_contact": first.figures(), "steady": rig.checked(steady, flow).figures()}


def show_scale(found: dict[str, Any]) -> None:
    """Print the figures for people."""
    for each in found["scale"]:
        first, steady = each["first_contact"], each["steady"]
        print(f"{each['users']:>9,} users: first contact {first['rate']:,}/s, then {steady['rate']:,}/s")
        print(f"{'':10}{costs(steady)}; {steady['lost']} lost, {steady['twice']} twice")
