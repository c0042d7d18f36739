"""When a batch is written: when it is full, or when nothing more is waiting."""

from __future__ import annotations

from broker.link import Delivery
from ingest.batch import MAX_ITEMS, Batch
from tests.samples import RECEIVED


def delivery(number: int) -> Delivery:
    return Delivery("t", b"%d" % number, RECEIVED, lambda: None)


def test_a_batch_is_full_at_its_limit_and_not_before() -> None:
    batch = Batch(max_items=2)
    batch.add(delivery(1))
    found = [batch.is_full]
    batch.add(delivery(2))
    assert [*found, batch.is_full] == [False, True]
    assert Batch().max_items == MAX_ITEMS


def test_taking_a_batch_keeps_its_order_and_leaves_it_empty() -> None:
    batch = Batch(max_items=2)
    for number in range(3):
        batch.add(delivery(number))
    assert [taken.payload for taken in batch.take()] == [b"0", b"1", b"2"]
    assert batch.take() == []
    assert not batch.is_full
