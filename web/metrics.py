"""What Prometheus is told: the counters of pipe and broker where they run here, and what the database says of the rest.

Nothing here names a company: who may scrape need not know who the customers are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from broker.embedded.counters import Snapshot
from ingest.metrics import LAG_BUCKETS_S, Metrics
from models import queries
from models.errors import StoreFailed
from models.facts import Status
from models.paging import backlog, people_by_status
from web.parts import Parts

router = APIRouter(tags=["instruments"])


_COUNTERS = {
    "received": ("fieldbeat_messages_received", "Messages that were taken from the broker and dealt with."),
    "stored": ("fieldbeat_messages_stored", "Messages that joined the history."),
    "duplicates": ("fieldbeat_messages_duplicate", "Messages that were known already."),
    "ignored": ("fieldbeat_messages_ignored", "Messages that say nothing to us, such as our own notices."),
    "rejected": ("fieldbeat_messages_rejected", "Messages that were refused, and kept with their reason."),
    "late": ("fieldbeat_messages_late", "Messages that joined the history and changed nothing else."),
    "sweeps": ("fieldbeat_sweeps", "Runs of the sweep."),
    "swept_users": ("fieldbeat_swept_users", "People whom a sweep looked at."),
}
_GAUGES = {
    "batch_size": ("fieldbeat_batch_messages", "Messages in the last batch."),
    "store_failing": ("fieldbeat_store_failing", "1 while the database cannot be written."),
}
_BROKER_GAUGES = {
    "connections_open": "Connections that are open.",
    "sessions": "Sessions, live and absent.",
    "subscriptions": "Subscriptions of all sessions.",
    "retained": "Retained messages.",
    "held": "Messages that wait for the ingest to store them.",
    "held_bytes": "Bytes of the messages that wait for the ingest.",
}
_BROKER_COUNTERS = {
    "connections_total": "Connections that were accepted.",
    "messages_in": "PUBLISH packets from clients.",
    "messages_out": "PUBLISH packets to clients.",
    "wills": "Last wills that were published.",
}
_BROKER_REASONS = {
    "dropped": "Messages that did not reach somebody, or were not kept.",
    "refused": "CONNECTs that were not accepted.",
    "closed": "Accepted connections that ended.",
}


class Instruments(Collector):
    """Reads everything anew at each scrape."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def describe(self) -> Iterable[Metric]:
        """Say nothing, so that registering does not read the database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        yield _gauge("fieldbeat_info", "The version that runs.", {self._parts.version: 1.0}, "version")
        if self._parts.pipe is not None:
            yield from _pipe(self._parts.pipe)
        if self._parts.broker_counters is not None:
            yield from _broker(self._parts.broker_counters())
        yield from _database(self._parts)


def _pipe(metrics: Metrics) -> Iterator[Metric]:
    counters = metrics.counters()
    for name, (shown_as, meaning) in _COUNTERS.items():
        by_label = {label: count for (counter, label), count in counters.items() if counter == name}
        labels = ["reason"] if any(by_label) else []
        family = CounterMetricFamily(shown_as, meaning, labels=labels)
        for label, count in (by_label or {"": 0}).items():
            family.add_metric([label] if labels else [], count)
        yield family
    gauges = metrics.gauges()
    for name, (shown_as, meaning) in _GAUGES.items():
        yield GaugeMetricFamily(shown_as, meaning, gauges.get(name, 0.0))
    yield _lag(metrics)


def _lag(metrics: Metrics) -> Metric:
    messages, sum_s = metrics.lags()
    so_far, buckets = 0, []
    for bound, count in zip((*map(str, LAG_BUCKETS_S), "+Inf"), messages, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    family = HistogramMetricFamily("fieldbeat_lag_seconds", "From receipt to commit.")
    family.add_metric([], buckets, sum_s)
    return family


def _broker(counters: Snapshot) -> Iterator[Metric]:
    for name, meaning in _BROKER_GAUGES.items():
        yield GaugeMetricFamily(f"fieldbeat_broker_{name}", meaning, getattr(counters, name))
    for name, meaning in _BROKER_COUNTERS.items():
        yield CounterMetricFamily(f"fieldbeat_broker_{name.removesuffix('_total')}", meaning, getattr(counters, name))
    for name, meaning in _BROKER_REASONS.items():
        family = CounterMetricFamily(f"fieldbeat_broker_{name}", meaning, labels=["reason"])
        for reason, count in getattr(counters, name).items():
            family.add_metric([str(reason)], count)
        yield family


def _database(parts: Parts) -> Iterator[Metric]:
    try:
        with parts.looking() as look:
            waiting, people = backlog(look.connection), people_by_status(look.connection)
            listened = queries.last_listened(look.connection)
    except StoreFailed:
        yield GaugeMetricFamily("fieldbeat_database_up", "1 while the database answers.", 0)
        return
    yield GaugeMetricFamily("fieldbeat_database_up", "1 while the database answers.", 1)
    yield GaugeMetricFamily("fieldbeat_outbox_events", "Events that no broker has confirmed.", waiting.events)
    yield GaugeMetricFamily(
        "fieldbeat_outbox_states", "People whose present state has not been published.", waiting.states
    )
    age_s = 0.0 if waiting.oldest is None else max(0.0, (look.now - waiting.oldest).total_seconds())
    yield GaugeMetricFamily("fieldbeat_outbox_age_seconds", "How long the oldest of these events has waited.", age_s)
    shown = {str(status): float(people.get(status, 0)) for status in Status}
    yield _gauge("fieldbeat_people", "People by their announced status.", shown, "status")
    if listened is not None:
        deaf_s = max(0.0, (look.now - listened).total_seconds())
        yield GaugeMetricFamily("fieldbeat_deaf_seconds", "How long ago a worker was known to listen.", deaf_s)


def _gauge(name: str, meaning: str, values: Mapping[str, float], label: str) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def registry(parts: Parts) -> CollectorRegistry:
    """Return a registry of our own: the library's is one a process, and so one for all tests."""
    made = CollectorRegistry()
    made.register(Instruments(parts))
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    return made


@router.get("/metrics", summary="Counters and gauges for Prometheus.", response_class=Response)
def metrics(request: Request) -> Response:
    shown = generate_latest(request.app.state.registry)
    return Response(shown, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})
