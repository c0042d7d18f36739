"""Recorded positions of ships, receivers and buses through the real command, also while the ingest process is killed again and again."""

from __future__ import annotations

import csv
import gzip
import hashlib
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, func, select

from models.queries import HISTORY
from tests.acceptance.field import Field, new_field, until

TRACKS = Path(__file__).parents[1] / "data" / "tracks"
ORACLE = "e41439c2630511f023fcfda279d5cdda0528bc20d3027dd3116338367d25e74e"
"""SHA-256 over the newest row of each ship before 01:00Z, but for two ships that are in two places at their newest time."""
NOW_IS = datetime(2022, 1, 3, 1, tzinfo=UTC)

Row = dict[str, str]


def rows(name: str) -> list[Row]:
    with gzip.open(TRACKS / name, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def newest(of: list[Row]) -> dict[str, Row]:
    """Return the newest row of each ship, in the way that `ORACLE` was made."""
    past = sorted(
        (row for row in of if row["time"] < f"{NOW_IS:%Y-%m-%dT%H:%M:%SZ}"),
        key=lambda row: (row["device"], row["time"]),
    )
    found = {}
    for device, mine in itertools.groupby(past, key=lambda row: row["device"]):
        group = list(mine)
        last = [row for row in group if row["time"] == group[-1]["time"]]
        if len({(row["lat"], row["lon"]) for row in last}) == 1:
            found[device] = last[0]
    lines = [",".join(row[key] for key in ("device", "time", "lat", "lon")) for _, row in sorted(found.items())]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == ORACLE
    return found


def stored(field: Field) -> int:
    engine = create_engine(f"sqlite:///{field.home / '.fieldbeat' / 'fieldbeat.db'}")
    try:
        with engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(HISTORY)).scalar_one()
    finally:
        engine.dispose()


def check_against_oracle(states: dict[str, Any], oracle: dict[str, Row]) -> None:
    """Check that everybody's position is the newest recorded one, and that all times are shifted alike."""
    shifts: list[timedelta] = []
    for device, row in oracle.items():
        state = states[device]
        assert (state["lastLatitude"], state["lastLongitude"]) == (float(row["lat"]), float(row["lon"])), device
        shifts.append(datetime.fromisoformat(state["lastFixAt"]) - datetime.fromisoformat(row["time"]))
    assert max(shifts) - min(shifts) <= timedelta(milliseconds=1)
    assert abs(shifts[0] - (datetime.now(UTC) - NOW_IS)) < timedelta(minutes=10)


def test_ships_survive_five_kills_of_the_ingest_process(tmp_path: Path) -> None:
    recorded = rows("ais_us.csv.gz")
    different = {(row["device"], row["time"], row["lat"], row["lon"]) for row in recorded}
    with new_field(tmp_path) as field:
        field.start("broker")
        field.start("ingest")
        words = [sys.executable, "-m", "cli.main", "replay", str(TRACKS / "ais_us.csv.gz"), "--company", "sea"]
        replay = subprocess.Popen(
            words, cwd=field.home, env=field.environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        field.running["replay"] = replay
        dice = random.Random(7)
        for _ in range(5):
            before = _stored_or_zero(field)
            until(lambda: _stored_or_zero(field) > before or replay.poll() is not None, "the replay goes on", 60)  # noqa: B023 called at once
            time.sleep(dice.uniform(0.0, 0.5))
            field.stop("ingest", signal.SIGKILL)
            field.start("ingest")
        assert replay.wait(120) == 0
        until(lambda: stored(field) == len(different), "every different row is stored", 60)
        states = field.who("sea")
        assert len(states) == len({row["device"] for row in recorded})
        check_against_oracle(states, newest(recorded))
        assert {state["status"] for state in states.values()} == {"online"}


def _stored_or_zero(field: Field) -> int:
    return stored(field) if (field.home / ".fieldbeat" / "fieldbeat.db").exists() else 0


def test_positions_from_the_future_stay_in_the_history_flagged(tmp_path: Path) -> None:
    with new_field(tmp_path) as field:
        field.start("up")
        assert field.run("replay", str(TRACKS / "ais_us.csv.gz"), "--company", "sea").returncode == 0
        ahead = next(row for row in rows("ais_us.csv.gz") if row["time"] >= "2022-01-03T01:05:00Z")
        points = [json.loads(line) for line in _track(field, "sea", ahead["device"])]
        future = [point for point in points if "future" in point["flags"]]
        assert future
        last = field.who("sea")[ahead["device"]]["lastFixAt"]
        assert last is None or all(last < point["at"] for point in future)


def _track(field: Field, company: str, user: str) -> list[str]:
    done = field.run(
        "track", "--company", company, "--user", user, "--format", "ndjson", "--to", "9999-01-01T00:00:00Z"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_receivers_with_broken_clocks_and_no_fix_freeze_nothing(tmp_path: Path) -> None:
    with new_field(tmp_path) as field:
        field.start("up")
        assert field.run("replay", str(TRACKS / "gpsd_receivers.csv.gz"), "--company", "lab").returncode == 0
        states = field.who("lab")
        assert len(states) == len({row["device"] for row in rows("gpsd_receivers.csv.gz")})
        assert {state["status"] for state in states.values()} == {"online"}
        soon = f"{datetime.now(UTC) + timedelta(minutes=3):%Y-%m-%dT%H:%M:%S}"
        assert all(state["lastFixAt"] is None or state["lastFixAt"] < soon for state in states.values())
        user = next(iter(states))
        field.publish(user, {"device": "new", "latitude": 1.25, "longitude": 2.5}, company="lab")
        until(lambda: field.who("lab")[user]["lastLatitude"] == 1.25, "a fresh position becomes current")
