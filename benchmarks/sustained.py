"""A fixed rate for minutes: how long a heartbeat takes from its publication to its commit, and whether that grows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import create_engine, text

from benchmarks.parts import costs, on_postgresql

TENTHS = 10
GROWN = 2.0
"""So many times the lag of the first tenth, and a second more: then it grows."""
_COMMIT_TIMES = "track_commit_timestamp = on"
_LAGS = text(
    "WITH told AS (SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - at)::float8 AS lag,"
    " least(:tenths - 1, floor(extract(epoch FROM at - :began) / :seconds * :tenths)) AS tenth"
    " FROM history WHERE at >= :began)"
    " SELECT tenth, percentile_disc(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY lag) FROM told"
    " GROUP BY GROUPING SETS ((tenth), ()) ORDER BY tenth"
)
"""The last row, whose tenth is NULL, is about all of them."""


def sustained(rate: float, seconds: float, users: int) -> dict[str, Any]:
    """Publish RATE heartbeats a second for SECONDS, after every user was heard once, and return what came of it."""
    with on_postgresql(_COMMIT_TIMES) as (rig, url), rig.load(users).opened() as flow:
        rig.push(flow, lambda room: flow.publish(flow.round, room=room))
        began = datetime.now(UTC)
        part = rig.push(flow, lambda _: flow.publish(seconds=seconds, rate=rate))
        *tenths, whole = _lags(url, began, seconds)
        return {
            **rig.checked(part, flow).figures(), "seconds_of_load": seconds, "wanted": rate, "lag_s": whole, "lag_s_at_start": tenths[0],
            "lag_s_at_end": tenths[-1], "grows": tenths[-1]["p50"] > GROWN * tenths[0]["p50"] + 1,
        }  # fmt: skip


def _lags(url: str, began: datetime, seconds: float) -> list[dict[str, float]]:
    """Return the seconds from publication to commit for each tenth of the time, then for all of it."""
    engine = create_engine(url, connect_args={"options": "-c work_mem=1GB"})
    with engine.connect() as connection:
        found = connection.execute(_LAGS, {"began": began, "seconds": seconds, "tenths": TENTHS}).all()
    engine.dispose()
    return [dict(zip(("p50", "p99", "max"), (round(lag, 3) for lag in lags), strict=True)) for _, lags in found]


def show_sustained(found: dict[str, Any]) -> None:
    """Print the figures for people."""
    print(
        f"{found['messages']:,} heartbeats at {found['wanted']:,.0f}/s: {found['rate']:,}/s from the first to the last commit"
    )
    for name, title in (
        ("lag_s", "lag, publication to commit"),
        ("lag_s_at_start", "first tenth"),
        ("lag_s_at_end", "last tenth"),
    ):
        lag = found[name]
        print(f"{title:28}p50 {lag['p50']:.3f} s, p99 {lag['p99']:.3f} s, at the most {lag['max']:.3f} s")
    print(f"the lag {'grows' if found['grows'] else 'does not grow'}; {found['lost']} lost, {found['twice']} twice")
    print(costs(found))
