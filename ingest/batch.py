"""When to write: as soon as a batch is full or nothing more is waiting. Pure.

No timer is needed: while one batch is being committed the next one gathers, so batches grow by themselves with the load.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.link import Delivery

MAX_ITEMS = 8000


@dataclass(slots=True)
class Batch:
    """Messages that will be stored together."""

    max_items: int = MAX_ITEMS
    items: list[Delivery] = field(default_factory=list)

    def add(self, delivery: Delivery) -> None:
        self.items.append(delivery)

    @property
    def is_full(self) -> bool:
        return len(self.items) >= self.max_items

    def take(self) -> list[Delivery]:
        taken, self.items = self.items, []
        return taken
