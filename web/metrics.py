"""What Prometheus is told: the counters of pipe and broker where they run here, and what the database says of the rest.

Nothing here names a company: who may scrape need not know who the customers are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

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
from ingest.metrics import BOUNDS, Metrics
from models import queries
from models.census import Backlog, LeaseState, backlog, leases_by_state, people_by_status
from models.errors import Refusal, StoreFailed
from models.facts import Status
from web.parts import Look, Parts
from web.thrift import Thrift

router = APIRouter(tags=["instruments"])


_COUNTERS = {
    "received": ("fieldbeat_messages_received", "Messages that were taken from the broker and dealt with."),
    "stored": ("fieldbeat_messages_stored", "Messages that joined the history."),
    "duplicates": ("fieldbeat_messages_duplicate", "Messages that were known already."),
    "ignored": ("fieldbeat_messages_ignored", "Messages that say nothing to us, such as our own notices."),
    "late": ("fieldbeat_messages_late", "Messages that joined the history though newer ones were known."),
    "sweeps": ("fieldbeat_sweeps", "Runs of the sweep."),
    "swept_users": ("fieldbeat_swept_users", "People whom a sweep looked at."),
}
_GAUGES = {
    "queue": ("fieldbeat_queue_messages", "Messages that wait for the ingest to store them."),
    "store_failing": ("fieldbeat_store_failing", "1 while the database cannot be written."),
}
_COUNTED = {
    "companies": ("fieldbeat_companies", "Companies that are known."),
    "users": ("fieldbeat_users", "Users who are known."),
    "devices": ("fieldbeat_devices", "Devices that are known."),
    "rejected": ("fieldbeat_rejected_kept", "Refused messages that are kept."),
}
"""What a job counts now and then, in the process whose turn it is."""
_HISTOGRAMS = {
    "lag_s": ("fieldbeat_lag_seconds", "From receipt to commit, of each message."),
    "batch_size": ("fieldbeat_batch_messages", "Messages stored by one transaction."),
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


class Census(NamedTuple):
    """What is counted by reading every row that there is: 0.3 s among 200,000 people on SQLite."""

    waiting: Backlog
    people: Mapping[str, int]
    leases: Mapping[LeaseState, int]


def _census(look: Look) -> Census:
    connection = look.connection
    return Census(backlog(connection), people_by_status(connection), leases_by_state(connection, look.now, look.terms))


class Instruments(Collector):
    """Reads everything anew at each scrape; what the database says only where WITH_DATABASE says so."""

    def __init__(self, parts: Parts, *, with_database: bool) -> None:
        self._parts = parts
        self._with_database = with_database
        self._census = Thrift(_census)

    def describe(self) -> Iterable[Metric]:
        """Say nothing, so that registering does not read the database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        yield _gauge("fieldbeat_info", "The version that runs.", {self._parts.version: 1.0}, "version")
        if self._parts.pipe is not None:
            yield from _pipe(self._parts.pipe)
        if self._parts.broker_counters is not None:
            yield from _broker(self._parts.broker_counters())
        if self._with_database:
            yield from _database(self._parts, self._census)


def _pipe(metrics: Metrics) -> Iterator[Metric]:
    counters = metrics.counters()
    for name, (shown_as, meaning) in _COUNTERS.items():
        yield CounterMetricFamily(shown_as, meaning, counters.get((name, ""), 0))
    # Every class from the start: a rate cannot be told of a counter that begins at its first increase.
    rejected = CounterMetricFamily(
        "fieldbeat_messages_rejected", "Messages that were refused, by class.", labels=["reason"]
    )
    for refusal in Refusal:
        rejected.add_metric([str(refusal)], counters.get(("rejected", refusal), 0))
    yield rejected
    gauges = metrics.gauges()
    for name, (shown_as, meaning) in _GAUGES.items():
        yield GaugeMetricFamily(shown_as, meaning, gauges.get(name, 0.0))
    for name, (shown_as, meaning) in _COUNTED.items():
        if name in gauges:
            yield GaugeMetricFamily(shown_as, meaning, gauges[name])
    for name, (shown_as, meaning) in _HISTOGRAMS.items():
        yield _histogram(metrics, name, shown_as, meaning)


def _histogram(metrics: Metrics, name: str, shown_as: str, meaning: str) -> Metric:
    observed = metrics.observed(name)
    bounds = [*map(str, BOUNDS[name]), "+Inf"]
    family = HistogramMetricFamily(shown_as, meaning)
    family.add_metric([], list(zip(bounds, accumulate(observed.buckets), strict=True)), observed.total)
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


def _database(parts: Parts, census: Thrift[Look, Census]) -> Iterator[Metric]:
    try:
        with parts.looking() as look:
            waiting, people, leases = census.ask(look)
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
    held = {str(state): float(devices) for state, devices in leases.items()}
    yield _gauge("fieldbeat_leases", "Devices by the state of their newest session's lease.", held, "state")
    if listened is not None:
        deaf_s = max(0.0, (look.now - listened).total_seconds())
        yield GaugeMetricFamily("fieldbeat_deaf_seconds", "How long ago a worker was known to listen.", deaf_s)


def _gauge(name: str, meaning: str, values: Mapping[str, float], label: str) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def registry(parts: Parts, *, with_database: bool = True) -> CollectorRegistry:
    """Return a registry of our own: the library's is one a process, and so one for all tests."""
    made = CollectorRegistry()
    made.register(Instruments(parts, with_database=with_database))
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    return made


@router.get("/metrics", summary="Counters and gauges for Prometheus.", response_class=Response)
def metrics(request: Request) -> Response:
    shown = generate_latest(request.app.state.registry)
    return Response(shown, headers={"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})
