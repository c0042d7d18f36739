"""Real recordings, from the file to what the service makes of them."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.link import Delivery
from cli.fleet.playback import Playback, shift_to, usual_now
from cli.fleet.recording import Row, read
from ingest.decode import Decoded, decode
from models.errors import BadSetting
from models.facts import Fix, Heard

TRACKS = Path(__file__).parent.parent / "data" / "tracks"
STARTED = datetime(2026, 11, 22, 10, tzinfo=UTC)


def newest(rows: Sequence[Row], before: datetime) -> set[tuple[str, ...]]:
    """Return the keys of the newest row of each device stamped before BEFORE; not of devices where two rows are the newest."""
    candidates: dict[str, dict[datetime, set[tuple[str, ...]]]] = {}
    for row in rows:
        if row.time is not None and row.time < before:
            candidates.setdefault(row.device, {}).setdefault(row.time, set()).add(row.key)
    latest = [times[max(times)] for times in candidates.values()]
    return {key for keys in latest for key in keys if len(keys) == 1}


def received(rows: Sequence[Row]) -> list[Decoded]:
    """Return what the service understands of a replay of ROWS at STARTED; it must understand all."""
    now_is = usual_now(row.time for row in rows)
    playback = Playback(
        rows, "acme", shift_to(STARTED, now_is or STARTED), {row.device: f"s-{row.device}" for row in rows}
    )
    understood = [decode(Delivery(*playback.message(index), STARTED, lambda: None)) for index in range(len(rows))]
    assert all(isinstance(each, Decoded) for each in understood)
    return [each for each in understood if isinstance(each, Decoded)]


def current(rows: Sequence[Row]) -> set[tuple[str, ...]]:
    """Return the keys of the rows that give each user the current position."""
    best: dict[str, tuple[Fix, Row]] = {}
    for row, message in zip(rows, received(rows), strict=True):
        if isinstance(message.signal, Heard) and message.signal.fix is not None:
            fix = message.signal.fix
            if message.user not in best or best[message.user][0].rank < fix.rank:
                best[message.user] = fix, row
    return {row.key for _, row in best.values()}


@pytest.mark.parametrize(
    ("file", "now_is"),
    [
        ("ais_us.csv", datetime(2022, 1, 3, 1, tzinfo=UTC)),
        ("liverpool_bus.csv", datetime(2026, 1, 26, 18, tzinfo=UTC)),
        ("track-with-empty-segment.gpx", datetime(2013, 7, 6, 18, tzinfo=UTC)),
    ],
)
def test_the_newest_row_of_each_device_becomes_the_current_position(file: str, now_is: datetime) -> None:
    rows = read(TRACKS / file)
    assert usual_now(row.time for row in rows) == now_is
    expected = newest(rows, now_is)
    assert expected
    assert expected <= current(rows)


def test_stamps_after_now_are_understood_and_never_current() -> None:
    rows = read(TRACKS / "ais_us.csv")
    strays = {row.key for row in rows if row.time is not None and row.time > datetime(2022, 1, 3, 1, tzinfo=UTC)}
    assert strays
    assert not strays & current(rows)


def test_different_rows_have_different_messages_and_equal_ones_the_same() -> None:
    rows = read(TRACKS / "ais_us.csv")
    messages = {(each.user, each.message) for each in received(rows)}
    assert len(messages) == len({row.key for row in rows}) == len(rows) - 1


def test_what_transponders_cannot_know_is_not_said() -> None:
    rows = read(TRACKS / "ais_us.csv")
    assert sum(row.report.speed is None for row in rows) == 37
    assert all(row.report.heading is None or row.report.heading < 360 for row in rows)
    assert any(row.report.heading is None for row in rows)


def test_receivers_without_time_or_position_or_of_other_centuries_break_nothing() -> None:
    rows = read(TRACKS / "gpsd_receivers.csv")
    assert {row.time is None for row in rows} == {row.report.latitude is None for row in rows} == {True, False}
    assert {row.time.year for row in rows if row.time} >= {1999, 2037}
    assert len(received(rows)) == len(rows)


def test_a_gpx_file_is_one_device_named_as_the_file() -> None:
    rows = read(TRACKS / "track_with_speed.gpx")
    assert [row.report.speed for row in rows] == [1.2, 2.2, 3.2]
    assert {row.device for row in rows} == {"track_with_speed"}
    assert rows[0].time == datetime(2009, 3, 2, 14, 5, 52, tzinfo=UTC)


def test_compressed_files_are_read_alike(tmp_path: Path) -> None:
    for file in ("ais_us.csv", "track_with_speed.gpx"):
        packed = tmp_path / f"{file}.gz"
        packed.write_bytes(gzip.compress((TRACKS / file).read_bytes()))
        assert read(packed) == read(TRACKS / file)


@pytest.mark.parametrize(
    "data", [b"\x1f\x8bbroken", gzip.compress(b"device,time,lat,lon\n" * 99)[:-9], b"\xff\xfe\x00", b"PNG"]
)
def test_a_file_that_is_no_recording_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "track.csv.gz"
    path.write_bytes(data)
    with pytest.raises(BadSetting, match=r"track\.csv\.gz"):
        read(path)
