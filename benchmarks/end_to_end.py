"""From the publisher to the committed row, side by side: Mosquitto alone, Fieldbeat, and what one would use instead.

    python -m benchmarks.end_to_end [--seconds N] [--users N] [--json]
    python -m benchmarks.end_to_end --sustained 16667 --seconds 300
    python -m benchmarks.end_to_end --scale

It starts and stops its own servers on free ports. Every contender but the first stores a heartbeat before it acknowledges it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from benchmarks import mq_bridge, parts
from benchmarks.machine import machine
from benchmarks.mq_bridge import Times
from benchmarks.parts import Plan, Rig
from benchmarks.scale import at_scale, show_scale
from benchmarks.sustained import show_sustained, sustained

SCRIPT_SECONDS = 10.0
"""The script's rate does not depend on how long it runs, and it is slow."""

Figures = dict[str, Any]


def measured(name: str, contender: AbstractContextManager[Rig], plan: Plan) -> Figures:
    print(f"{name} ...", file=sys.stderr)
    with contender as rig:
        return {**rig.run(plan).figures(), "tokens": rig.broker.plugged}


def bridged(plan: Plan, times: Times) -> Figures:
    """Return the figures of mq-bridge at its best, or why there are none."""
    try:
        tried = [
            measured(f"mq-bridge, time as {times.value}, concurrency {number}", parts.bridge(times, number), plan)
            | {"concurrency": number}
            for number in mq_bridge.CONCURRENCIES
        ]
    except mq_bridge.NotInstalled as error:
        return {"rate": None, "error": str(error)}
    return max(tried, key=lambda figures: int(figures["rate"]))


def side_by_side(seconds: float, users: int) -> Figures:
    """Return the figures of all contenders."""
    plan = Plan(seconds, users)
    slowly = Plan(min(seconds, SCRIPT_SECONDS), users, parts.WAITING_FOR_THE_SCRIPT)
    found: Figures = {
        "limit": measured("Mosquitto to mosquitto_sub", parts.limit(), plan),
        "postgresql": measured("Fieldbeat on PostgreSQL", parts.fieldbeat(), plan),
        "sqlite": measured("Fieldbeat on SQLite", parts.on_sqlite(), plan),
        "row_at_a_time": measured("the script on PostgreSQL", parts.script_on_postgresql(), slowly),
        "mq_bridge": bridged(plan, Times.TYPED),
    }
    found["mq_bridge"]["text"] = bridged(plan, Times.TEXT)
    found["row_at_a_time"]["sqlite"] = measured("the script on SQLite", parts.script_on_sqlite(), slowly)
    ours = found["postgresql"], found["sqlite"]
    found |= {name: sum(each[name] for each in ours) for name in ("lost", "twice")}
    found["ratios"] = _ratios(found)
    return found


def _ratios(found: Figures) -> dict[str, float | None]:
    rate, script, bridge = found["postgresql"]["rate"], found["row_at_a_time"], found["mq_bridge"]
    return {
        "postgresql_to_limit": round(rate / found["limit"]["rate"], 2),
        "postgresql_to_row_at_a_time": round(rate / script["rate"], 1),
        "sqlite_to_row_at_a_time_on_sqlite": round(found["sqlite"]["rate"] / script["sqlite"]["rate"], 1),
        "postgresql_to_mq_bridge": bridge["rate"] and round(rate / bridge["rate"], 2),
        "postgresql_to_mq_bridge_with_text": bridge["text"]["rate"] and round(rate / bridge["text"]["rate"], 2),
    }


def show_side_by_side(found: Figures) -> None:
    """Print the figures for people."""
    rows = {
        "Mosquitto → mosquitto_sub": found["limit"],
        "Fieldbeat on PostgreSQL": found["postgresql"],
        "Fieldbeat on SQLite": found["sqlite"],
        "one ORM row a message, PostgreSQL": found["row_at_a_time"],
        "one ORM row a message, SQLite": found["row_at_a_time"]["sqlite"],
        "mq-bridge to PostgreSQL": found["mq_bridge"],
        "the same, the time kept as text": found["mq_bridge"]["text"],
    }
    print(f"{found['users']:,} users, {found['seconds']:g} s of load each")
    for name, figures in rows.items():
        if figures["rate"] is None:
            print(f"{name:34}       - {figures['error']}")
            continue
        print(f"{name:34}{figures['rate']:>8,} heartbeats/s, {figures['lost']} lost, {figures['twice']} twice")
        print(f"{'':8}{parts.costs(figures)}")
    for name, ratio in found["ratios"].items():
        print(f"{name.replace('_', ' '):34}{ratio if ratio is not None else '-':>8}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the load lasts, for each part")
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument(
        "--sustained", type=float, metavar="RATE", help="instead: Fieldbeat on PostgreSQL at a fixed rate"
    )
    parser.add_argument(
        "--scale", action="store_true", help="instead: Fieldbeat on PostgreSQL with 20 to a million users"
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    chosen = parser.parse_args()
    found: Figures = {"machine": machine(), "users": chosen.users, "seconds": chosen.seconds}
    show: Callable[[Figures], None]
    if chosen.scale:
        del found["users"]
        found, show = {**found, "scale": at_scale(chosen.seconds)}, show_scale
    elif chosen.sustained is not None:
        found, show = {**found, **sustained(chosen.sustained, chosen.seconds, chosen.users)}, show_sustained
    else:
        found, show = {**found, **side_by_side(chosen.seconds, chosen.users)}, show_side_by_side
    if chosen.json:
        print(json.dumps(found))
    else:
        print(found["machine"])
        show(found)


if __name__ == "__main__":
    main()
