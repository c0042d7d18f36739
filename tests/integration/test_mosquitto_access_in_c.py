"""The decision in C against the policy in Python: the table of cases, and whatever Hypothesis comes up with."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker import access
from broker.access import Claims, Role
from broker.mosquitto.sessions import Owner
from tests.policy_cases import CASES, NO_FILTERS, WHO, Access, Case
from tests.servers import program

Decide = Callable[[bytes | None, bytes, int], bool]
READ, WRITE, SUBSCRIBE, UNSUBSCRIBE = 1, 2, 4, 8
_BITS = {Access.RECEIVE: READ, Access.PUBLISH: WRITE, Access.SUBSCRIBE: SUBSCRIBE}

_OURS = ["company", "acme", "acm", "acme2", "alice", "presence", "status", "state", "fieldbeat", "service"]
_level = st.sampled_from(["", "$share", "$SYS", "+", "#", "a#", *_OURS])
_text = st.lists(_level, max_size=7).map("/".join) | st.text(
    st.characters(exclude_characters="\0", codec="utf-8"), max_size=20
)


@pytest.fixture(scope="module")
def decide(tmp_path_factory: pytest.TempPathFactory) -> Decide:
    library = tmp_path_factory.mktemp("access") / "access.so"
    source = Path(str(files("broker.mosquitto") / "access.c"))
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined"]
    command = [program("cc"), *flags, str(source), "-o", str(library)]
    subprocess.run(command, check=True)  # noqa: S603 the compiler
    function = ctypes.CDLL(str(library)).fieldbeat_may
    function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
    function.restype = ctypes.c_bool
    return lambda username, topic, bit: bool(function(username, topic, bit))


def _username(claims: Claims) -> bytes:
    return Owner.of(claims).username.encode()


@pytest.mark.parametrize("case", [case for case in CASES if case.access is not Access.CONNECT], ids=str)
def test_the_c_shim_answers_as_the_table_says(decide: Decide, case: Case) -> None:
    assert decide(_username(WHO[case.who]), case.topic.encode(), _BITS[case.access]) is case.answer


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=2000, deadline=None)
@given(role=st.sampled_from(Role), topic=_text)
def test_the_c_shim_and_the_policy_agree_on_any_topic(decide: Decide, role: Role, topic: str) -> None:
    claims = Claims("acme", "alice", role, WHO["device"].expires_at)
    answers = [decide(_username(claims), topic.encode(), bit) for bit in (READ, WRITE, SUBSCRIBE)]
    rules = (access.may_receive, access.may_publish, access.may_subscribe)
    assert answers == [rule(claims, topic) for rule in rules]


@pytest.mark.parametrize("text", NO_FILTERS)
@pytest.mark.parametrize("who", WHO)
def test_what_is_no_filter_is_refused(decide: Decide, who: str, text: str) -> None:
    assert not decide(_username(WHO[who]), text.encode(), SUBSCRIBE)


@pytest.mark.parametrize(
    "username",
    [
        None,
        b"",
        b"alice",
        b"device|acme",
        b"device||alice",
        b"device|acme|",
        b"device|acme|alice|x",
        b"Device|acme|alice",
        b"|acme|alice",
    ],
)
def test_a_username_that_the_gate_did_not_write_may_do_nothing(decide: Decide, username: bytes | None) -> None:
    topics = (b"company/acme/presence/alice", b"company/acme/#", b"fieldbeat/service", b"company//presence/")
    assert not any(decide(username, topic, bit) for topic in topics for bit in (READ, WRITE, SUBSCRIBE))


def test_anybody_may_unsubscribe_and_no_other_access_exists(decide: Decide) -> None:
    name = _username(WHO["service"])
    assert decide(name, b"anything", UNSUBSCRIBE)
    assert not any(decide(name, b"company/a/state/b", bit) for bit in (0, 3, 16))
