"""The whole pipe on one screen: take, decode, advance and store in one transaction, then acknowledge."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

from broker.link import Delivery, Link
from ingest.batch import Batch
from ingest.decode import Rejected, decode
from ingest.metrics import Metrics
from ingest.outbox import Outbox
from ingest.store import Outcome, Store, Written
from ingest.trouble import Trouble
from models.errors import Refusal, StoreFailed, StoreRefused
from models.topics import INGEST_FILTERS

log = logging.getLogger(__name__)

IDLE_S = 0.5
_BUSY_ITEMS = 1000
"""How large a batch is that tells of a pipe with little time to spare."""
_LISTEN_EVERY = timedelta(seconds=1)
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.1, 5.0


class Worker:
    """Moves messages from a link into the store until it is stopped."""

    def __init__(
        self, link: Link, store: Store, outbox: Outbox, metrics: Metrics, clock: Callable[[], datetime]
    ) -> None:
        self._link = link
        self._store = store
        self._outbox = outbox
        self._metrics = metrics
        self._clock = clock
        self._stop = threading.Event()
        self._trouble = Trouble(log, "store", "store_failed")
        self._listened = datetime.min.replace(tzinfo=clock().tzinfo)

    def run(self) -> None:
        """Take, decode, store, acknowledge; what is not stored is not acknowledged and comes again."""
        batch = Batch()
        with ThreadPoolExecutor(1, thread_name_prefix="store") as store:
            writing = store.submit(self._listen)
            for delivery in self._link.deliveries(INGEST_FILTERS, IDLE_S):
                if self._stop.is_set():
                    break
                if delivery is not None:
                    batch.add(delivery)
                if batch.is_full or delivery is None:
                    writing.result()
                    writing = store.submit(self._keep, batch.take())
            writing.result()

    def stop(self) -> None:
        """End `run` after the batch at hand."""
        self._stop.set()

    def _keep(self, items: list[Delivery]) -> None:
        """Store ITEMS, and the note that somebody is listening."""
        self._write(items)
        self._listen()

    def _write(self, items: list[Delivery], read: Callable[[Delivery], Outcome] = decode) -> None:
        """Store what READ makes of ITEMS, and acknowledge them."""
        delay_s = _FIRST_RETRY_S
        while items and not self._stop.is_set():
            try:
                written = self._store.write(map(read, items), self._clock())
            except StoreFailed as error:
                self._trouble.met(f"{error}; trying again until it works")
                self._metrics.gauge("store_failing", 1)
                self._stop.wait(delay_s)
                delay_s = min(delay_s * 2, _LONGEST_RETRY_S)
            except StoreRefused as error:
                self._part_with(items, read, error)
                return
            else:
                self._trouble.over()
                self._acknowledge(items, written)
                return

    def _part_with(self, items: list[Delivery], read: Callable[[Delivery], Outcome], error: StoreRefused) -> None:
        """Store what can be stored, by halves; what cannot is kept as refused, with the database's reason."""
        if len(items) > 1:
            half = len(items) // 2
            self._write(items[:half], read)
            self._write(items[half:], read)
        elif read is decode:
            self._write(items, partial(_unstorable, str(error)))
        else:
            raise error  # not even the refusal can be kept

    def _acknowledge(self, items: list[Delivery], written: Written) -> None:
        for delivery in items:
            delivery.ack()
        self._outbox.tell(written.touched, busy=len(items) >= _BUSY_ITEMS)
        self._count(items, written)

    def _count(self, items: list[Delivery], written: Written) -> None:
        metrics, now = self._metrics, self._clock()
        metrics.gauge("store_failing", 0)
        metrics.observe("lag_s", [(now - delivery.received_at).total_seconds() for delivery in items])
        metrics.observe("batch_size", [len(items)])
        metrics.count("received", len(items))
        metrics.count("stored", written.stored)
        metrics.count("late", written.late)
        metrics.count("duplicates", written.duplicates)
        metrics.count("ignored", written.ignored)
        for refusal, times in written.refusals.items():
            metrics.count("rejected", times, refusal)

    def _listen(self) -> None:
        """Keep the note that a worker is listening up to date, as long as one is (contract 4.7)."""
        now = self._clock()
        if now - self._listened < _LISTEN_EVERY or self._link.spell is None:
            return
        self._listened = now
        try:
            self._store.listen(now)
            self._trouble.over()
        except StoreFailed as error:
            self._trouble.met(str(error))


def _unstorable(reason: str, delivery: Delivery) -> Rejected:
    return Rejected(delivery.topic, delivery.payload, delivery.received_at, reason, Refusal.UNSTORABLE)
