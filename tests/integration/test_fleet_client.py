"""One line of the fleet over real MQTT: what the broker and the owner of the line see."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from cli.fleet.client import Endpoint, Line, Poller
from cli.fleet.messages import Identity
from models import topics
from models.errors import LinkLost
from tests.integration.fleet_desk import WITHIN_S, Desk, running, token
from tests.servers import free_port


@pytest.fixture
def desk() -> Iterator[Desk]:
    with running() as desk:
        yield desk


class Notes:
    """The owner of a line under test, who notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def opened(self) -> None:
        self.told.append("opened")

    def refused(self, reason: str) -> None:
        self.told.append(f"refused: {reason}")

    def lost(self) -> None:
        self.told.append("lost")

    def confirmed(self) -> None:
        self.told.append("confirmed")


class Handset:
    """One line of alice's, with its poller and its owner."""

    def __init__(self, url: str) -> None:
        self.identity = Identity("acme", "alice", "phone")
        self.topic = self.identity.topic(topics.Channel.PRESENCE)
        self.notes = Notes()
        self.poller = Poller()
        endpoint = Endpoint.of(url)
        self.line = Line(self.poller, endpoint, self.identity.client_id, self.notes, window=10, keepalive_s=15)

    def connect(self, name: str) -> None:
        """Open a connection whose will, if it comes, says NAME."""
        self.line.connect("alice", token(self.identity), (self.topic, json.dumps({"will": name}).encode()))
        self.until(lambda: self.line.is_open)

    def say(self, name: str) -> None:
        self.line.publish(self.topic, json.dumps({"said": name}).encode())

    def until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < give_up, self.notes.told
            self.poller.poll(0.05)


@pytest.fixture(params=["url", "ws_url"])
def handset(desk: Desk, request: pytest.FixtureRequest) -> Iterator[Handset]:
    handset = Handset(getattr(desk, request.param))
    yield handset
    handset.line.abort()
    handset.poller.close()


def test_a_broken_connection_lets_the_will_of_its_own_connect_speak(desk: Desk, handset: Handset) -> None:
    for name in ("first", "second"):
        handset.connect(name)
        handset.line.abort()
        assert handset.notes.told[-2:] == ["opened", "lost"]
    messages = desk.wait(lambda messages: len(messages) == 2)
    assert messages == [{"will": "first"}, {"will": "second"}]


def test_a_line_leaves_when_all_is_confirmed_and_its_will_is_silent(desk: Desk, handset: Handset) -> None:
    handset.connect("unheard")
    for name in "abc":
        handset.say(name)
    handset.line.leave(time.monotonic() + WITHIN_S)
    assert handset.line.room == 0
    handset.until(lambda: not handset.line.is_open)
    assert handset.notes.told == ["opened", "confirmed", "confirmed", "confirmed", "lost"]
    # A later connection's message would come after the will, if there had been one.
    handset.connect("unheard too")
    handset.say("d")
    handset.until(lambda: handset.line.outstanding == 0)
    assert desk.messages() == [{"said": name} for name in "abcd"]


def test_a_paused_line_is_silent_until_it_resumes(desk: Desk, handset: Handset) -> None:
    handset.connect("unheard")
    handset.line.pause()
    handset.say("late")
    for _ in range(3):
        handset.poller.poll(0.01)
    assert desk.messages() == []
    handset.line.resume()
    handset.until(lambda: "confirmed" in handset.notes.told)
    assert desk.messages() == [{"said": "late"}]


def test_what_was_not_confirmed_is_said_again_by_the_next_connection(desk: Desk, handset: Handset) -> None:
    handset.connect("first")
    handset.line.pause()
    handset.say("kept")
    handset.line.abort()
    assert handset.line.outstanding == 1
    handset.connect("second")
    handset.until(lambda: handset.line.outstanding == 0)
    assert {"said": "kept"} in desk.messages()


def test_nobody_at_the_other_end_is_a_lost_link() -> None:
    handset = Handset(f"mqtt://127.0.0.1:{free_port()}")
    with pytest.raises(LinkLost, match="refused"):
        handset.connect("unheard")
    handset.poller.close()
