"""The plug-in's lines of mosquitto.conf, and the revocations file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.mosquitto import options, revocations
from broker.tokens import Revocations
from models.errors import BadSetting

_NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_all_options_are_read() -> None:
    text = "secret_file=/a\njwks_file=/b=c\nalgorithms=HS256, EdDSA\nmax_lifetime=12h\nrevocations_file=/r\n"
    read = options.read(text)
    assert read.files == (Path("/a"), Path("/b=c"), Path("/r"))
    assert read.algorithms == ("HS256", "EdDSA")
    assert read.max_lifetime == timedelta(hours=12)


def test_hs256_and_400_days_are_what_is_meant_when_nothing_is_said() -> None:
    read = options.read("secret_file=/a\n")
    assert (read.algorithms, read.max_lifetime, read.files) == (("HS256",), timedelta(days=400), (Path("/a"),))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "plugin_opt_secret_file"),
        ("secret_file=/a\nrevocation_file=/r\n", "plugin_opt_revocation_file"),
        ("secret_file=relative\n", "absolute"),
        ("secret_file=/a\nmax_lifetime=90\n", "max_lifetime"),
        ("secret_file=/a\nmax_lifetime=0d\n", "max_lifetime"),
        ("secret_file=/a\nmax_lifetime=-1d\n", "max_lifetime"),
        ("secret_file=/a\nmax_lifetime=\n", "max_lifetime"),
        ("secret_file=/a\nmax_lifetime=99999999999999d\n", "max_lifetime"),
    ],
)
def test_a_wrong_option_is_named(text: str, named: str) -> None:
    with pytest.raises(BadSetting, match=named):
        options.read(text)


def test_revocations_come_back_as_they_were_written() -> None:
    revoked = Revocations(frozenset({"b", "a"}), {("acme", "alice"): _NOON})
    assert revocations.read(revocations.write(revoked)) == revoked


def test_of_two_entries_for_a_user_the_later_one_counts() -> None:
    entries = ",".join(
        f'{{"company": "acme", "user": "alice", "until": "{until.isoformat()}"}}'
        for until in (_NOON, _NOON - timedelta(hours=1))
    )
    read = revocations.read(f'{{"tokens": [], "users": [{entries}]}}')
    assert read.users == {("acme", "alice"): _NOON}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"tokens": []}',
        '{"tokens": [1], "users": []}',
        '{"tokens": [], "users": [{"company": "acme", "user": "alice"}]}',
        '{"tokens": [], "users": [{"company": "acme", "user": "a/b", "until": "2026-11-22T10:00:00Z"}]}',
        '{"tokens": [], "users": [{"company": "acme", "user": "alice", "until": "2026-11-22T10:00:00"}]}',
        '{"tokens": [], "users": [{"company": "acme", "user": "alice", "until": 5}]}',
        '{"tokens": [], "users": ["alice"]}',
        '{"tokens": [], "users": [], "more": []}',
    ],
)
def test_a_revocations_file_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match="revocations"):
        revocations.read(text)
