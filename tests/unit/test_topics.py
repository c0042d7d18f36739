"""The topic grammar: what is an id, a topic of ours, a filter, and what a filter selects."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import topics
from models.errors import BadTopic
from models.topics import Address, Channel

IDS = st.text("ABCXYZabcxyz0189_-", min_size=1, max_size=64)
LEVELS = st.lists(st.sampled_from(["company", "acme", "other", "state", "alice", ""]), min_size=1, max_size=6)
STRANGE_IDS = ["", "a" * 65, "+", "#", "a/b", "..", "$SYS", "a b", "a\0", "a\n", "é", "аlice", "a@b.c", "１"]  # noqa: RUF001 look-alikes are the point


@pytest.mark.parametrize("text", ["a", "A-z_0", "-", "0" * 64, "01KAN98D00QJ9Z3V6W8X2Y4T5R"])
def test_ids_are_letters_digits_underscores_and_hyphens(text: str) -> None:
    assert topics.is_id(text)
    assert topics.checked_id(text, "user") == text


@pytest.mark.parametrize("text", STRANGE_IDS)
def test_anything_else_is_no_id(text: str) -> None:
    assert not topics.is_id(text)
    with pytest.raises(BadTopic, match=r"^user .* must be 1 to 64 of"):
        topics.checked_id(text, "user")


@pytest.mark.parametrize("text", STRANGE_IDS)
def test_no_address_can_be_made_of_what_is_no_id(text: str) -> None:
    with pytest.raises(BadTopic, match="company"):
        topics.address(text, Channel.PRESENCE, "alice")
    with pytest.raises(BadTopic, match="user"):
        topics.address("acme", Channel.PRESENCE, text)


@settings(max_examples=50, deadline=None)
@given(IDS, st.sampled_from(list(Channel)), IDS)
def test_an_address_and_its_topic_are_the_same_thing(company: str, channel: Channel, user: str) -> None:
    made = topics.address(company, channel, user)

    assert made.topic == f"company/{company}/{channel}/{user}"
    assert topics.parse(made.topic) == made == Address(company, channel, user)


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.text(max_size=60), LEVELS.map("/".join)))
def test_what_is_parsed_is_what_was_said(topic: str) -> None:
    try:
        parsed = topics.parse(topic)
    except BadTopic:
        return

    assert parsed.topic == topic


def test_devices_speak_on_three_channels_and_the_worker_hears_each_once() -> None:
    assert {"presence", "activity", "status"} == topics.FROM_DEVICES
    assert topics.INGEST_FILTERS == ("company/+/activity/+", "company/+/presence/+", "company/+/status/+")
    for channel in topics.FROM_DEVICES:
        topic = topics.address("acme", channel, "alice").topic
        assert sum(topics.matches(pattern, topic) for pattern in topics.INGEST_FILTERS) == 1


@pytest.mark.parametrize("pattern", ["#", "+", "/", "//", "a/#", "+/+/#", "/+", "+/a/+", "$SYS/#", "a b/ü/+"])
def test_wildcards_stand_for_whole_levels(pattern: str) -> None:
    assert topics.is_filter(pattern)


@pytest.mark.parametrize("pattern", ["", "a#", "a/#/b", "#/a", "##", "a+", "+a/b", "a/b+", "++", "a\0b", "a" * 65_536])
def test_other_uses_of_wildcards_make_no_filter(pattern: str) -> None:
    assert not topics.is_filter(pattern)


@pytest.mark.parametrize(
    ("pattern", "topic", "answer"),
    [
        # The examples of MQTT 3.1.1, section 4.7.1 and 4.7.2.
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/broker", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/broker", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        ("a/b", "a/b", True),
        ("a/b", "A/b", False),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
    ],
)
def test_a_filter_selects_what_the_specification_says(pattern: str, topic: str, answer: bool) -> None:
    assert topics.matches(pattern, topic) is answer


@settings(max_examples=40, deadline=None)
@given(LEVELS)
def test_every_topic_is_selected_by_itself_and_by_the_filter_of_all(levels: list[str]) -> None:
    topic = "/".join(levels)

    assert topics.matches(topic, topic)
    assert topics.matches("#", topic)
    assert topics.matches("/".join("+" for _ in levels), topic)


@settings(max_examples=60, deadline=None)
@given(LEVELS, st.integers(0, 63), st.integers(1, 6))
def test_wildcards_in_place_of_levels_select_what_the_levels_did(levels: list[str], wild: int, kept: int) -> None:
    pattern = ["+" if wild >> place & 1 else level for place, level in enumerate(levels)]
    topic = "/".join(levels)

    assert topics.matches("/".join(pattern), topic)
    assert topics.matches("/".join([*pattern[:kept], "#"]), topic)
    assert not topics.matches("/".join([*pattern, "+"]), topic)
