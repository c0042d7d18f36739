"""Whole fleets and replays over real MQTT, in the process and by their commands."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from broker.access import Claims, Role
from broker.tokens import Key, issue
from cli.fleet.client import Endpoint
from cli.fleet.messages import Identity
from cli.fleet.options import FleetOptions
from cli.fleet.playback import Playback, in_order
from cli.fleet.player import Played, PlayOptions, play
from cli.fleet.recording import read
from cli.fleet.run import run_fleet
from cli.main import main
from models.errors import LinkLost
from tests.integration.fleet_desk import SECRET, WITHIN_S, Desk, now, running, token
from tests.servers import free_port

TRACK = Path(__file__).parent.parent / "data" / "tracks" / "liverpool_bus.csv"


def forged(identity: Identity) -> str:
    key = Key.from_secret("the secret of somebody else, just as long")
    return issue(key, Claims(identity.company, identity.user, Role.DEVICE, now() + timedelta(minutes=10), now()))


@pytest.fixture
def desk() -> Iterator[Desk]:
    with running() as desk:
        yield desk


def test_a_fleet_drives_and_signs_off(desk: Desk) -> None:
    options = FleetOptions("acme", 30, desk.url, token, rate_hz=60.0, duration_s=2.0)
    tally = run_fleet(options, threading.Event())
    assert (tally.devices, tally.users, tally.connected, tally.refused) == (30, 24, 0, 0)
    assert tally.sent == tally.confirmed > 100
    messages = desk.messages()
    assert len({message["session"] for message in messages if "session" in message}) >= 30
    beats = [message for message in messages if "latitude" in message]
    assert all({"seq", "at", "longitude", "accuracy", "speed", "battery"} <= beat.keys() for beat in beats)
    assert sum(message.get("reason") == "signed_off" for message in messages) >= 25


def test_a_fleet_stops_when_it_is_told_to(desk: Desk) -> None:
    stop = threading.Event()
    driving = threading.Thread(
        target=run_fleet, args=(FleetOptions("acme", 5, desk.url, token), stop), name="fleet under test"
    )
    driving.start()
    desk.wait(lambda messages: len({message.get("session") for message in messages}) >= 5)
    stop.set()
    driving.join(WITHIN_S)
    assert not driving.is_alive()
    assert sum(message.get("reason") == "signed_off" for message in desk.messages()) == 5


def test_a_fleet_that_nobody_lets_in_says_why(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.fleet.run._FIRST_PATIENCE_S", 0.5)
    with pytest.raises(LinkLost, match="refused"):
        run_fleet(FleetOptions("acme", 2, desk.url, forged), threading.Event())


SERVICE = Identity("fieldbeat", "fieldbeat", "replay")


def replay(url: str, **patience: float) -> tuple[Playback, Callable[[Callable[[Played], None]], Played]]:
    """Return a playback of the buses, and what plays it to URL."""
    rows = read(TRACK)
    playback = Playback(rows, "acme", timedelta(0), {row.device: f"s-{row.device}" for row in rows})
    options = PlayOptions(
        Endpoint.of(url), "fieldbeat:replay-test", "fieldbeat", lambda: token(SERVICE, Role.SERVICE), **patience
    )
    lanes = playback.lanes(in_order(rows), 2)
    return playback, lambda watch: play(lanes, playback.message, options, threading.Event(), watch)


def test_a_replay_is_confirmed_row_by_row(desk: Desk) -> None:
    playback, run = replay(desk.url)
    played = run(lambda _played: None)
    assert (played.published, played.confirmed, played.reconnects, played.trouble) == (120, 120, 0, None)
    assert sorted((each.topic, each.payload) for each in desk.deliveries) == sorted(map(playback.message, range(120)))


def test_a_broker_that_goes_away_and_comes_back_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.fleet.player.WINDOW", 5)
    port = free_port()
    ready, gone = threading.Event(), threading.Event()
    results: list[Played] = []
    playback, run = replay(f"mqtt://127.0.0.1:{port}")

    def watch(played: Played) -> None:
        if played.confirmed:
            ready.set()

    def message(index: int) -> tuple[str, bytes]:
        # The second half waits for the broker's end, so that the replay cannot be over before.
        if index > 60:
            ready.set()
            gone.wait(WITHIN_S)
        return Playback.message(playback, index)

    monkeypatch.setattr(playback, "message", message)
    playing = threading.Thread(target=lambda: results.append(run(watch)), name="replay under test")
    with running(port) as first:
        playing.start()
        assert ready.wait(WITHIN_S)
    gone.set()
    with running(port) as second:
        playing.join(2 * WITHIN_S)
        assert not playing.is_alive()
    (played,) = results
    assert (played.confirmed, played.trouble) == (120, None)
    assert played.reconnects
    arrived = {(each.topic, each.payload) for desk in (first, second) for each in desk.deliveries}
    assert arrived == {playback.message(index) for index in range(120)}


def test_a_replay_to_nobody_says_so_soon() -> None:
    _, run = replay(f"mqtt://127.0.0.1:{free_port()}", first_patience_s=0.3)
    played = run(lambda _played: None)
    assert played.confirmed == 0
    assert played.trouble is not None
    assert "refused" in played.trouble


def command(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run `fieldbeat` with WORDS against DESK in an empty directory, and return its exit status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIELDBEAT_BROKER_URL", desk.url)
    monkeypatch.setenv("FIELDBEAT_JWT_SECRET", SECRET)
    monkeypatch.setattr("cli.output.start_logging", lambda *_: None)  # it would outlive the test
    return main(words)


def test_the_command_replay_sums_up(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(desk, tmp_path, monkeypatch, "replay", str(TRACK), "--company", "acme", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "rows": 120,
        "different": 120,
        "published": 120,
        "confirmed": 120,
        "reconnects": 0,
        "nowIs": "2026-01-26T18:00:00Z",
    }
    ages = [now() - datetime.fromisoformat(message["at"]) for message in desk.messages()]
    assert timedelta(0) < min(ages) < max(ages) < timedelta(hours=3)


def test_the_command_replay_keeps_pace(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    words = "replay", str(TRACK), "--company", "acme", "--speed", "6000", "--now-is", "2026-01-26T18:00:00Z"
    assert command(desk, tmp_path, monkeypatch, *words) == 0
    assert 0.5 < time.monotonic() - began < WITHIN_S
    assert len(desk.messages()) == 120


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("replay", "absent.csv"), 1),
        (("replay", str(TRACK.parent / "LICENCES.md")), 2),
        (("replay", str(TRACK), "--speed", "0"), 2),
        (("replay", str(TRACK), "--now-is", "teatime"), 2),
        (("simulate", "--devices", "0"), 2),
        (("simulate", "--devices", "1", "--rate", "-1"), 2),
    ],
)
def test_what_cannot_be_done_is_one_line(
    desk: Desk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    status: int,
) -> None:
    assert command(desk, tmp_path, monkeypatch, *words, "--company", "acme") == status
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_simulate_sums_up(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "simulate", "--company", "acme", "--devices", "5", "--duration", "0.5", "--json"
    assert command(desk, tmp_path, monkeypatch, *words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["devices"], summary["users"]) == (5, 4)
    assert summary["sent"] == summary["confirmed"] >= 10
