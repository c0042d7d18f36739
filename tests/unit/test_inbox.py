"""What waits for the worker, and when it was received."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

from broker.inbox import Inbox, Receipts
from broker.link import Delivery

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def some(count: int) -> list[Delivery]:
    return [Delivery("t", b"%d" % number, NOON, lambda: None) for number in range(count)]


def test_times_of_receipt_rise_even_when_the_clock_does_not() -> None:
    clock = iter([NOON, NOON, NOON - timedelta(hours=1), NOON + timedelta(seconds=1)])
    receipts = Receipts(lambda: next(clock))
    times = [*receipts.next_many(3), *receipts.next_many(2), receipts.next(), *receipts.next_many(2)]
    assert all(one < other for one, other in pairwise(times))
    assert times[0] == NOON
    assert times[-2] == NOON + timedelta(seconds=1)


def test_an_inbox_tells_whoever_fills_it_that_the_worker_is_behind() -> None:
    inbox = Inbox(10, lambda: None)
    assert not inbox.put(some(2))
    assert inbox.put(some(2))
    assert len(list(islice(inbox.drain(0), 4))) == 4
    assert not inbox.put(some(2))


def test_a_full_inbox_takes_what_has_been_read_already_and_says_when_there_is_room() -> None:
    told: list[bool] = []
    inbox = Inbox(3, lambda: told.append(True))
    inbox.put(some(2))
    full = [inbox.is_full]
    inbox.put(some(5))
    full.append(inbox.is_full)
    deliveries = inbox.drain(0)
    assert len([next(deliveries) for _ in range(7)]) == 7
    full.append(inbox.is_full)
    assert next(deliveries) is None
    assert full == [False, True, False]
    assert told == [True]


def test_a_closed_inbox_ends_and_takes_nothing_more() -> None:
    inbox = Inbox(3, lambda: None)
    inbox.put(some(2))
    inbox.close()
    inbox.put(some(5))
    assert list(inbox.drain(0)) == []
    assert not inbox.is_full
