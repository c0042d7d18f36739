"""Processes that write people, on both databases: nobody goes by what another has changed since."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from sqlalchemy import Engine

from ingest.dialect import Dialect
from ingest.turnstile import Admission
from models.errors import StoreFailed
from models.queries import LISTENING
from tests.integration.store_lab import T0

Desk = Callable[[], Admission]
_numbers = itertools.count()


def desk(engine: Engine) -> Desk:
    """Return a process that writes: each call is one transaction, and returns on what terms."""
    dialect = Dialect(engine)

    def write() -> Admission:
        with dialect.writing() as connection:
            admission = dialect.turnstile.enter(connection)
            since = T0 + timedelta(seconds=next(_numbers))
            new = dialect.insert(LISTENING).values(id=1, since=since, until=T0)
            connection.execute(new.on_conflict_do_update(index_elements=["id"], set_={"since": since}))
            dialect.turnstile.leave(connection)
        return admission

    return write


def test_who_writes_alone_knows_from_the_second_time_on_that_nobody_else_has_written(engine: Engine) -> None:
    write = desk(engine)
    assert not write().undisturbed
    assert [write() for _ in range(5)] == [Admission(alone=True, undisturbed=True)] * 5


def test_another_writer_is_noticed_once_for_each_time_it_wrote(engine: Engine) -> None:
    write, other = desk(engine), desk(engine)
    write()
    other()
    assert not write().undisturbed
    assert write().undisturbed
    assert not other().undisturbed
    assert not write().undisturbed


def test_a_transaction_that_fails_disturbs_nobody_who_comes_after(engine: Engine) -> None:
    write, dialect = desk(engine), Dialect(engine)
    write()
    with suppress(StoreFailed), dialect.writing() as connection:
        dialect.turnstile.enter(connection)
        raise StoreFailed("the disk is full")
    assert write() == Admission(alone=True, undisturbed=True)


def test_writers_who_keep_meeting_on_postgresql_enter_together_and_alone_again_when_they_no_longer_do(
    engine: Engine, database_kind: str
) -> None:
    if database_kind == "sqlite":
        assert all(write().alone for write in [desk(engine), desk(engine)] * 5)
        return
    write, other = desk(engine), desk(engine)
    met = [(write(), other()) for _ in range(10)]
    assert met[0][0].alone
    assert not met[-1][0].alone
    assert not met[-1][1].alone
    assert any(write() == Admission(alone=True, undisturbed=True) for _ in range(300))
