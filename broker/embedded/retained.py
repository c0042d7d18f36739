"""The last retained message of each topic, in a tree, so that a filter finds its own without a look at the others."""

from __future__ import annotations

from collections.abc import Iterator

from broker.embedded.limits import Limits
from broker.embedded.messages import Message


class _Node:
    __slots__ = ("children", "message")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.message: Message | None = None


class Retained:
    """Bounded by number, by bytes, and by the size of each."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._root = _Node()
        self._bytes = 0
        self.count = 0

    def put(self, message: Message) -> bool:
        """Keep MESSAGE in place of its topic's last one; return whether there was room.

        An empty payload takes the last one away [MQTT-3.3.1-10]. When there is no room that goes too: it is no longer true.
        """
        size = len(message.payload)
        self.discard(message.topic)
        if not size:
            return True
        if (
            self.count >= self._limits.retained
            or size > self._limits.retained_payload
            or self._bytes + size > self._limits.retained_bytes
        ):
            return False
        node = self._root
        for level in message.topic.split("/"):
            node = node.children.setdefault(level, _Node())
        node.message = message
        self.count += 1
        self._bytes += size
        return True

    def discard(self, topic: str) -> None:
        """Forget the message of TOPIC."""
        path, levels = [self._root], topic.split("/")
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return
            path.append(child)
        if path[-1].message is not None:
            self._bytes -= len(path[-1].message.payload)
            self.count -= 1
            path[-1].message = None
        for parent, level in zip(reversed(path[:-1]), reversed(levels), strict=True):
            if parent.children[level].children or parent.children[level].message is not None:
                break
            del parent.children[level]

    def select(self, pattern: str) -> Iterator[Message]:
        """Yield the messages whose topics the filter PATTERN selects."""
        nodes = [self._root]
        for level in pattern.split("/"):
            if level == "#":
                yield from _all_below(nodes)
                return
            if level == "+":
                nodes = [child for node in nodes for child in node.children.values()]
            else:
                nodes = [node.children[level] for node in nodes if level in node.children]
        yield from (node.message for node in nodes if node.message is not None)


def _all_below(nodes: list[_Node]) -> Iterator[Message]:
    """Yield the messages of NODES themselves and of all under them: `a/#` selects `a` too [MQTT-4.7.1-2]."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.message is not None:
            yield node.message
        waiting.extend(node.children.values())
