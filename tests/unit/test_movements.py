"""Who has moved waits an interval, and longer while the pipe is busy."""

from __future__ import annotations

import pytest

from ingest import movements
from ingest.movements import PAGE, SHARE, Movements


def test_who_was_not_published_yet_is_due_at_once_and_then_after_the_interval() -> None:
    queue = Movements(5.0)
    queue.note([1, 2], 100.0)
    assert queue.due(100.0) == [1, 2]
    queue.publish([1, 2], 100.0)
    queue.note([2], 101.0)
    queue.note([1], 102.0)
    assert (queue.next_at(), queue.due(104.9)) == (105.0, [])
    assert queue.due(105.0) == [1, 2]


def test_who_moves_several_times_is_published_once() -> None:
    queue = Movements(5.0)
    for now in (100.0, 101.0, 102.0):
        queue.note([1], now)
    assert queue.due(103.0) == [1]
    queue.publish([1], 103.0)
    assert queue.due(200.0) == []
    assert queue.next_at() is None


def test_who_was_published_for_a_change_has_moved_no_more() -> None:
    queue = Movements(5.0)
    queue.note([1, 2], 100.0)
    queue.publish([1], 100.5)
    assert queue.due(101.0) == [2]


def test_a_page_is_small_and_the_longest_due_come_first() -> None:
    queue = Movements(5.0)
    queue.note(range(PAGE, 2 * PAGE), 100.0)
    queue.note(range(PAGE), 99.0)
    assert queue.due(100.0) == list(range(PAGE))
    assert queue.due(100.0) == list(range(PAGE, 2 * PAGE))


def test_a_busy_pipe_lets_a_small_part_of_the_time_go_to_movements() -> None:
    queue = Movements(0.0)
    queue.busy = True
    queue.note([1, 2], 100.0)
    queue.publish(queue.due(100.0)[:1], 100.0)
    queue.rest(100.5, took_s=0.5)
    queue.note([1], 100.5)
    again = 100.5 + 0.5 * (SHARE - 1)
    assert (queue.next_at(), queue.due(again - 0.1)) == (again, [])
    assert queue.due(again) == [1]


def test_a_pipe_that_is_busy_no_longer_waits_for_nothing() -> None:
    queue = Movements(0.0)
    queue.busy = True
    queue.rest(100.0, took_s=1.0)
    queue.note([1], 100.0)
    queue.busy = False
    assert (queue.next_at(), queue.due(100.0)) == (100.0, [1])


def test_of_too_many_the_rest_is_noted_when_it_moves_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movements, "MOST_WAITING", 3)
    queue = Movements(5.0)
    queue.note([1, 2, 3, 4], 100.0)
    assert queue.due(100.0) == [1, 2, 3]
    queue.publish([1, 2, 3], 100.0)
    queue.note([4], 101.0)
    assert queue.due(101.0) == [4]


def test_who_was_published_by_another_process_is_due_an_interval_after_that() -> None:
    queue = Movements(5.0)
    queue.note([1, 2], 100.0)
    queue.publish(queue.due(100.0), 100.0)
    queue.put_off({1: 97.5}, 100.0)
    assert (queue.next_at(), queue.due(102.4), queue.due(102.5)) == (102.5, [], [1])
