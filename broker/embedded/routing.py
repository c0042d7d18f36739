"""Who gets a message: subscriptions in a tree, and the answer for each topic kept until a subscription changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from broker import access
from broker.access import Claims, Role
from broker.embedded.holds import Hold
from broker.embedded.messages import Message, string
from models import topics

_MAX_ROUTES: Final = 50_000
_SOME: Final = "+"
_ALL: Final = "#"


class Subscriber(Protocol):
    """Whoever is handed messages: the session of a client, or a link within this process."""

    claims: Claims
    filters: dict[str, int]
    local: bool
    """Whether it is the worker of this very process."""

    def offer(self, message: Message, qos: int, hold: Hold | None) -> None:
        """Queue one copy of MESSAGE; never waits."""


class Target(NamedTuple):
    """One subscriber of a topic. `consumes`: its acknowledgement means that the message is stored."""

    subscriber: Subscriber
    qos: int
    consumes: bool


class Route(NamedTuple):
    """All subscribers of one topic, one entry each; `stored` tells whether the pipe stores messages of the topic."""

    topic: str
    topic_string: bytes
    targets: tuple[Target, ...]
    consumers: int
    stored: bool


class _Node:
    __slots__ = ("children", "subscribers")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.subscribers: dict[Subscriber, int] = {}


class Router:
    """The subscriptions of everybody."""

    def __init__(self) -> None:
        self._root = _Node()
        self._routes: dict[str, Route] = {}
        self.subscriptions = 0

    def subscribe(self, subscriber: Subscriber, pattern: str, qos: int) -> None:
        """Add a subscription, or replace the one of the same filter [MQTT-3.8.4-3]."""
        node = self._root
        for level in pattern.split("/"):
            node = node.children.setdefault(level, _Node())
        if subscriber not in node.subscribers:
            self.subscriptions += 1
        node.subscribers[subscriber] = qos
        self.forget()

    def unsubscribe(self, subscriber: Subscriber, pattern: str) -> None:
        """Remove a subscription, if it is there."""
        path = [self._root]
        for level in pattern.split("/"):
            child = path[-1].children.get(level)
            if child is None:
                return
            path.append(child)
        if path[-1].subscribers.pop(subscriber, None) is not None:
            self.subscriptions -= 1
        for parent, level in zip(reversed(path[:-1]), reversed(pattern.split("/")), strict=True):
            child = parent.children[level]
            if child.subscribers or child.children:
                break
            del parent.children[level]
        self.forget()

    def forget(self) -> None:
        """Work all routes out anew: a subscription or the claims of a subscriber have changed."""
        self._routes.clear()

    def route(self, topic: str) -> Route:
        """Return who gets messages on TOPIC: each at its highest QoS, and only who may receive them."""
        route = self._routes.get(topic)
        if route is None:
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            route = self._routes[topic] = self._find(topic)
        return route

    def _find(self, topic: str) -> Route:
        stored = any(topics.matches(pattern, topic) for pattern in topics.INGEST_FILTERS)
        found: dict[Subscriber, int] = {}
        for node in self._matching(topic.split("/")):
            for subscriber, qos in node.subscribers.items():
                found[subscriber] = max(qos, found.get(subscriber, 0))
        # With a worker of our own its word is enough: a session that another one left behind must not hold everybody up.
        own = any(subscriber.local for subscriber in found)
        targets = tuple(
            Target(subscriber, qos, stored and qos > 0 and _consumes(subscriber, only_local=own))
            for subscriber, qos in found.items()
            if access.may_receive(subscriber.claims, topic)
        )
        return Route(topic, string(topic), targets, sum(target.consumes for target in targets), stored)

    def _matching(self, levels: list[str]) -> Iterator[_Node]:
        """Yield the nodes of all filters that select the topic of LEVELS [MQTT-4.7.1-2, MQTT-4.7.1-3]."""
        nodes = [self._root]
        for level in levels:
            deeper = []
            for node in nodes:
                deeper += [node.children[name] for name in (level, _SOME) if name in node.children]
                if _ALL in node.children:
                    yield node.children[_ALL]
            nodes = deeper
        for node in nodes:
            yield node
            if _ALL in node.children:
                yield node.children[_ALL]


def _consumes(subscriber: Subscriber, *, only_local: bool) -> bool:
    return subscriber.local or (subscriber.claims.role is Role.SERVICE and not only_local)
