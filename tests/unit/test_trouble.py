"""A trouble is told when it begins, when it changes and when it is over."""

from __future__ import annotations

import logging

import pytest

from ingest.trouble import Trouble


@pytest.fixture
def trouble(caplog: pytest.LogCaptureFixture) -> Trouble:
    caplog.set_level(logging.INFO)
    return Trouble(logging.getLogger("test"), "store", "store_failed")


def test_a_trouble_that_lasts_is_told_once(trouble: Trouble, caplog: pytest.LogCaptureFixture) -> None:
    for text in ("read-only", "read-only", "full", "full"):
        trouble.met(text)
    trouble.over()
    trouble.over()
    assert [record.getMessage() for record in caplog.records] == [
        "store: read-only",
        "store: full",
        "store works again",
    ]
    assert [record.__dict__["action"] for record in caplog.records] == [
        "store_failed",
        "store_failed",
        "store_failed_over",
    ]


def test_where_nothing_was_wrong_nothing_is_told(trouble: Trouble, caplog: pytest.LogCaptureFixture) -> None:
    trouble.over()
    assert caplog.records == []
