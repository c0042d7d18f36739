"""`fieldbeat replay`: recorded positions over real MQTT."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import output, wiring
from cli.fleet.client import Endpoint
from cli.fleet.interrupt import stop_on_signals
from cli.fleet.playback import Cue, Playback, in_order, paced, shift_to, usual_now
from cli.fleet.player import LANES, Played, PlayOptions, play
from cli.fleet.recording import Row, read
from cli.options import AsJson, Company
from cli.output import Column
from cli.quantities import parse_time, time_text
from cli.settings import Settings, load
from models.errors import BadSetting, NotFound
from models.succession import UUID7_ENTROPY_BITS, uuid7

Recording = Annotated[Path, typer.Argument(metavar="FILE", help="CSV (also .gz) or GPX.")]
Speed = Annotated[
    float | None,
    typer.Option("--speed", help="So many times as fast as recorded; as fast as the broker takes it if left out."),
]
NowIs = Annotated[
    str | None,
    typer.Option(
        "--now-is",
        metavar="TIME",
        help="The recorded instant that becomes now; if left out, the end of the hour that holds the 99th percentile of the times.",
    ),
]


def replay(
    file: Recording, company: Company, speed: Speed = None, now_is: NowIs = None, as_json: AsJson = False
) -> None:
    """Play recorded positions to the configured broker, with the recorded times moved so that they end about now.

    A CSV file has the columns device, time, lat, lon and, if known, speed_mps, course_deg, acc_m, alt_m; of GPX the tracks are played.
    Each recorded device becomes a user. All times move by the same amount; stamps after --now-is lie in the future, where
    Fieldbeat stores but does not believe them. Course 360 and AIS's speed 102.3 kn mean unknown and are left out.
    Equal rows (device, time, lat, lon) are sent as one and the same message. Fails unless the broker has confirmed every row.
    """
    if speed is not None and not speed > 0:
        raise BadSetting("--speed must be over 0")
    settings = load()
    output.start_logging(settings.log_level, settings.log_format)
    rows = read(file)
    if not rows:
        raise NotFound(f"{file}: no recorded positions")
    instant = _instant(rows, now_is)
    started = wiring.now()
    shift = shift_to(started, instant or started)
    sessions = {row.device: "" for row in rows}
    sessions = {device: uuid7(started, secrets.randbits(UUID7_ENTROPY_BITS)) for device in sessions}
    playback = Playback(rows, company, shift, sessions)
    cues = in_order(rows) if speed is None else paced(rows, instant, speed)
    if instant is not None:
        output.note(f"{time_text(instant)} of the recording is now")
    played = _play(settings, playback, cues)
    _print(len(rows), playback.different, played, instant, as_json=as_json)
    if played.confirmed < len(rows):
        complaint = played.trouble or "interrupted"
        output.complain(
            f"fieldbeat: {len(rows) - played.confirmed} of {len(rows)} rows were not confirmed: {complaint}"
        )
        raise typer.Exit(1)


def _instant(rows: list[Row], now_is: str | None) -> datetime | None:
    if now_is is None:
        return usual_now(row.time for row in rows)
    try:
        return parse_time(now_is, wiring.now())
    except ValueError as error:
        raise BadSetting(f"--now-is: {error}") from None


def _play(settings: Settings, playback: Playback, cues: list[Cue]) -> Played:
    options = PlayOptions(
        endpoint=Endpoint.of(settings.broker),
        client_id=f"fieldbeat:replay-{secrets.token_hex(4)}",
        username=wiring.service_username(settings),
        token=lambda: wiring.service_token(settings),
    )
    of = f"confirmed of {len(cues):,}:"
    with stop_on_signals() as stop, output.progress("replay") as progress:
        return play(
            playback.lanes(cues, LANES), playback.message, options, stop, lambda now: progress(of, now.confirmed)
        )


def _print(rows: int, different: int, played: Played, instant: datetime | None, *, as_json: bool) -> None:
    figures = {
        "rows": rows,
        "different": different,
        "published": played.published,
        "confirmed": played.confirmed,
        "reconnects": played.reconnects,
    }
    if as_json:
        output.out_json(figures | {"nowIs": None if instant is None else instant.isoformat().replace("+00:00", "Z")})
        return
    columns = [Column(name, right=True) for name in figures]
    output.table(columns, [[f"{value:,}" for value in figures.values()]])
