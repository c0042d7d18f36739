"""`fieldbeat simulate`: a virtual fleet over real MQTT."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import output
from cli.fleet.interrupt import stop_on_signals
from cli.fleet.options import FleetOptions
from cli.fleet.run import Tally, run_fleet
from cli.options import AsJson, Company
from cli.output import Column
from cli.settings import load

Devices = Annotated[int, typer.Option("--devices", min=1, max=10_000, help="How many devices.")]
Rate = Annotated[
    float | None,
    typer.Option("--rate", help="Heartbeats a second of the whole fleet; one every 5 s from each device if left out."),
]
Duration = Annotated[float | None, typer.Option("--duration", help="Seconds; until Ctrl-C if left out.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same users, routes and mishaps.")]


def simulate(
    company: Company,
    devices: Devices,
    rate: Rate = None,
    duration: Duration = None,
    seed: Seed = 1,
    as_json: AsJson = False,
) -> None:
    """Drive a virtual fleet against the configured broker, each device with a connection and a token of its own.

    The devices drive about a few towns, fall silent in dead zones and send what they kept, lose their connection, take breaks, and
    now and then set an activity or a status text. Every fourth user has two devices. At the end all sign off.
    """
    settings = load()
    output.start_logging(settings.log_level, settings.log_format)
    options = FleetOptions.of(settings, company, devices, rate_hz=rate, duration_s=duration, seed=seed)
    with stop_on_signals() as stop, output.progress("simulate") as progress:
        tally = run_fleet(options, stop, lambda now: progress(_step(now), now.sent))
    _print(tally, as_json=as_json)


def _step(tally: Tally) -> str:
    return f"{tally.connected:,} of {tally.devices:,} devices connected, {tally.confirmed:,} messages confirmed, sent:"


def _print(tally: Tally, *, as_json: bool) -> None:
    figures = {
        "devices": tally.devices,
        "users": tally.users,
        "sent": tally.sent,
        "confirmed": tally.confirmed,
        "late": tally.late,
        "reconnects": tally.reconnects,
        "aborts": tally.aborts,
        "refused": tally.refused,
    }
    if as_json:
        output.out_json(figures)
        return
    columns = [Column(name, right=True) for name in figures]
    output.table(columns, [[f"{value:,}" for value in figures.values()]])
