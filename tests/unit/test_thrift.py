"""An answer that took long is given again for a hundred times as long."""

from __future__ import annotations

import pytest

from web.thrift import Thrift


class Counting:
    """Finds how often it was asked, which takes it a while by its own clock."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s
        self.now_s = 1000.0
        self.asked = 0
        self.fails = False

    def find(self, _question: str) -> int:
        if self.fails:
            raise OSError("out of reach")
        self.now_s += self.takes_s
        self.asked += 1
        return self.asked


@pytest.mark.parametrize("takes_s", [0.002, 0.3])
def test_a_hundredth_of_the_time_is_spent_on_it(takes_s: float) -> None:
    counting = Counting(takes_s)
    thrift = Thrift(counting.find, lambda: counting.now_s)
    assert thrift.ask("") == 1
    counting.now_s += 99 * takes_s
    assert thrift.ask("") == 1
    counting.now_s += 2 * takes_s
    assert thrift.ask("") == 2


def test_a_failure_is_not_kept_and_not_hidden() -> None:
    counting = Counting(0.3)
    thrift = Thrift(counting.find, lambda: counting.now_s)
    counting.fails = True
    with pytest.raises(OSError, match="out of reach"):
        thrift.ask("")
    counting.fails = False
    assert thrift.ask("") == 1
