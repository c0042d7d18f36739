"""Counters, gauges and histograms of the pipe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.metrics import BOUNDS, Metrics


def test_a_value_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() -> None:
    metrics = Metrics()
    metrics.observe("batch_size", [1, 2, 5, 5, 8000, 8001])
    metrics.observe("batch_size", [2])
    buckets, total = metrics.observed("batch_size")
    assert dict(zip([*BOUNDS["batch_size"], "more"], buckets, strict=True)) == {
        1: 1, 5: 4, 10: 0, 25: 0, 50: 0, 100: 0, 250: 0, 500: 0, 1000: 0, 2000: 0, 4000: 0, 8000: 1, "more": 1,
    }  # fmt: skip
    assert total == 1 + 2 + 5 + 5 + 8000 + 8001 + 2


@given(st.lists(st.floats(0, 100)))
def test_every_value_counts_once(values: list[float]) -> None:
    metrics = Metrics()
    metrics.observe("lag_s", values)
    buckets, _ = metrics.observed("lag_s")
    assert sum(buckets) == len(values)
    assert buckets[-1] == sum(value > BOUNDS["lag_s"][-1] for value in values)


def test_a_counter_rises_under_each_label_and_a_gauge_is_what_was_set_or_found_last() -> None:
    metrics = Metrics()
    metrics.count("rejected", 2, "fields")
    metrics.count("rejected", 1, "fields")
    metrics.count("rejected", 0, "topic")
    assert metrics.counters() == {("rejected", "fields"): 3}
    metrics.gauge("store_failing", 1)
    metrics.watch("queue", lambda: 7)
    assert metrics.gauges() == {"store_failing": 1, "queue": 7}
