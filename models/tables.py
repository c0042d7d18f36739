"""The tables. Declarations only: no engine, no session.

Every id but the outside ones is a surrogate integer: history is the bulk of the data, and narrow. History hangs on the user, whose
id leads its key, so that one user's time range is one stretch of one index. On PostgreSQL the history is cut into days of receipt.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 86_400

BigKey = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit key; SQLite counts up by itself only for INTEGER PRIMARY KEY."""


UPDATED_IN_PLACE = {
    "fillfactor": 70,
    "autovacuum_vacuum_scale_factor": 0.02,
    "autovacuum_analyze_scale_factor": 0.05,
}
"""PostgreSQL's storage of tables whose rows change all the time: a page keeps room for the next version of its rows, so that a
change of no indexed column touches no index (HOT); what that leaves behind is cleared after 2 % of the rows, not after 20."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time: timestamptz on PostgreSQL, microseconds since 1970 on SQLite, which has no type for times."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True))

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        return _to_microseconds if dialect.name == "sqlite" else None

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None] | None:  # noqa: ARG002 SQLAlchemy's signature
        return _from_microseconds if dialect.name == "sqlite" else _in_utc


def microseconds(time: datetime) -> int:
    """Return TIME in microseconds since 1970, as SQLite keeps it."""
    since = time - _EPOCH
    return (since.days * _DAY_S + since.seconds) * 1_000_000 + since.microseconds  # a third quicker than a division


def _to_microseconds(time: datetime | None) -> int | None:
    return None if time is None else microseconds(time)


def _from_microseconds(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(microseconds=value)


def _in_utc(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


def _time(*, nullable: bool = False) -> Any:  # noqa: ANN401 SQLModel's Field has no narrower type
    return Field(default=None, sa_type=UtcDateTime, nullable=nullable)


def table(declared: type[SQLModel]) -> Table:
    """Return the table that a class of this module declares."""
    return SQLModel.metadata.tables[str(declared.__tablename__)]


def _partial_index(name: str, column: str, where: str) -> Index:
    return Index(name, column, sqlite_where=text(where), postgresql_where=text(where))


class Company(SQLModel, table=True):
    """A tenant."""

    __tablename__ = "company"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True, max_length=64)
    enrolled_at: datetime = _time()


class User(SQLModel, table=True):
    """A person in the field; `name` is the id that the outside uses."""

    __tablename__ = "user_account"
    __table_args__ = (UniqueConstraint("company_id", "name"),)
    id: int | None = Field(default=None, primary_key=True)
    company_id: int = Field(foreign_key="company.id")
    name: str = Field(max_length=64)
    enrolled_at: datetime = _time()


class Device(SQLModel, table=True):
    """One of a user's handsets, tablets or vehicle units."""

    __tablename__ = "device"
    __table_args__ = (UniqueConstraint("user_id", "name"),)
    id: int | None = Field(default=None, primary_key=True)
    user_id: int = Field(foreign_key="user_account.id")
    name: str = Field(max_length=64)
    enrolled_at: datetime = _time()


class DeviceSession(SQLModel, table=True):
    """The facts of one session (`models.facts.Session`): a lease, and what the device reported last.

    `newest_at` and `newest_seq` are the greatest `at` and `seq` that a message of the session in the history gives: what is beyond
    them is no copy of any.
    """

    __tablename__ = "device_session"
    __table_args__ = (
        UniqueConstraint("device_id", "token"),
        _partial_index("device_session_current", "user_id", "superseded_at IS NULL"),
        {"postgresql_with": UPDATED_IN_PLACE},
    )
    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    user_id: int = Field(foreign_key="user_account.id")
    device_id: int = Field(foreign_key="device.id")
    token: str = Field(max_length=64)
    first_at: datetime = _time()
    heard_at: datetime | None = _time(nullable=True)
    lost_at: datetime | None = _time(nullable=True)
    left_at: datetime | None = _time(nullable=True)
    left_reason: str = Field(default="signed_off", max_length=16)
    superseded_at: datetime | None = _time(nullable=True)
    lapsed_at: datetime | None = _time(nullable=True)
    seen_before: datetime | None = _time(nullable=True)
    word: str | None = Field(default=None, max_length=8)
    word_at: datetime | None = _time(nullable=True)
    word_seq: int | None = Field(default=None, sa_type=BigInteger)
    battery: float | None = None
    battery_at: datetime | None = _time(nullable=True)
    battery_seq: int | None = Field(default=None, sa_type=BigInteger)
    latitude: float | None = None
    longitude: float | None = None
    accuracy: float | None = None
    fix_at: datetime | None = _time(nullable=True)
    fix_seq: int | None = Field(default=None, sa_type=BigInteger)
    project: str | None = Field(default=None, max_length=128)
    task: str | None = Field(default=None, max_length=128)
    work_at: datetime | None = _time(nullable=True)
    work_seq: int | None = Field(default=None, sa_type=BigInteger)
    newest_at: datetime | None = _time(nullable=True)
    newest_seq: int = Field(default=-1, sa_column=Column(BigInteger, nullable=False, server_default="-1"))


class PresenceRow(SQLModel, table=True):
    """One row a user: what was announced, the facts that belong to no device, and when time may next change anything."""

    __tablename__ = "presence"
    __table_args__ = (
        _partial_index("presence_due", "due_at", "due_at IS NOT NULL"),
        _partial_index("presence_unpublished", "user_id", "rev > published_rev"),
        {"postgresql_with": UPDATED_IN_PLACE},
    )
    user_id: int = Field(primary_key=True, foreign_key="user_account.id")
    status: str = Field(default="offline", max_length=8)
    reason: str | None = Field(default=None, max_length=16)
    since: datetime | None = _time(nullable=True)
    project: str | None = Field(default=None, max_length=128)
    task: str | None = Field(default=None, max_length=128)
    message: str | None = Field(default=None, max_length=280)
    message_updated_at: datetime | None = _time(nullable=True)
    devices: str = Field(default="[]")
    work_project: str | None = Field(default=None, max_length=128)
    work_task: str | None = Field(default=None, max_length=128)
    work_at: datetime | None = _time(nullable=True)
    text_message: str | None = Field(default=None, max_length=280)
    text_set_at: datetime | None = _time(nullable=True)
    text_until: datetime | None = _time(nullable=True)
    rev: int = Field(default=0, sa_type=BigInteger)
    published_rev: int = Field(default=0, sa_type=BigInteger)
    published_at: datetime | None = _time(nullable=True)
    due_at: datetime | None = _time(nullable=True)


class HistoryRow(SQLModel, table=True):
    """The history of presence messages: every different one once, append-only.

    `message` tells the messages of a session apart: its `seq`, or below zero a digest of its bytes. `kind` is 0 for a heartbeat, 1 for
    a will, 2 for a sign-off. A row without `at` of its own has `at` = `received_at`.

    On PostgreSQL there is a partition for each day (`ingest.partitions`), and no constraint: one that holds over all partitions would
    have to contain `received_at`, in which copies differ.
    """

    __tablename__ = "history"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "at", "session_id", "message").ddl_if("sqlite"),
        UniqueConstraint("session_id", "message").ddl_if("sqlite"),
        Index("history_by_receipt", "received_at").ddl_if("sqlite"),
        Index("history_by_user", "user_id", "at").ddl_if("postgresql"),
        Index("history_by_session", "session_id", "message").ddl_if("postgresql"),
        {"sqlite_with_rowid": False, "postgresql_partition_by": "RANGE (received_at)"},
    )
    # Eight bytes wide first, then the two narrow ones together: PostgreSQL pads in between.
    at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    received_at: datetime = _time()
    session_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    message: int = Field(sa_column=Column(BigInteger, nullable=False))
    user_id: int
    kind: int = 0
    latitude: float | None = None
    longitude: float | None = None
    accuracy: float | None = None
    altitude: float | None = None
    speed: float | None = None
    heading: float | None = None
    battery: float | None = None


class ActivityRow(SQLModel, table=True):
    """Every statement of what a user works on, by activity message or heartbeat; intervals are read off neighbours."""

    __tablename__ = "activity_log"
    __table_args__ = ({"sqlite_with_rowid": False},)
    user_id: int = Field(primary_key=True)
    at: datetime = Field(sa_column=Column(UtcDateTime, primary_key=True))
    digest: int = Field(sa_column=Column(BigInteger, primary_key=True))
    received_at: datetime = _time()
    device: str | None = Field(default=None, max_length=64)
    project: str | None = Field(default=None, max_length=128)
    task: str | None = Field(default=None, max_length=128)


class StatusRow(SQLModel, table=True):
    """Every status text that was set or cleared."""

    __tablename__ = "status_log"
    __table_args__ = ({"sqlite_with_rowid": False},)
    user_id: int = Field(primary_key=True)
    set_at: datetime = Field(sa_column=Column(UtcDateTime, primary_key=True))
    message: str | None = Field(default=None, max_length=280)
    until: datetime | None = _time(nullable=True)


class EventRow(SQLModel, table=True):
    """The event log, which is also the outbox: a row is announced until the broker has confirmed it."""

    __tablename__ = "event"
    __table_args__ = (
        _partial_index("event_unconfirmed", "id", "confirmed_at IS NULL"),
        Index("event_by_company", "company_id", "id"),
        Index("event_by_user", "user_id", "id"),
    )
    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    uuid: str = Field(max_length=36)
    company_id: int = Field(foreign_key="company.id")
    user_id: int = Field(foreign_key="user_account.id")
    channel: str = Field(max_length=16)
    type: str = Field(max_length=32)
    at: datetime = _time()
    recorded_at: datetime = _time()
    confirmed_at: datetime | None = _time(nullable=True)
    payload: bytes = Field(sa_type=LargeBinary)


class RejectedRow(SQLModel, table=True):
    """A refused message: its topic, its first bytes, and why."""

    __tablename__ = "rejected"
    __table_args__ = (Index("rejected_by_company", "company", "id"), Index("rejected_by_time", "received_at"))
    id: int | None = Field(default=None, sa_column=Column(BigKey, primary_key=True))
    received_at: datetime = _time()
    company: str | None = Field(default=None, max_length=64)
    topic: str = Field(max_length=256)
    reason: str = Field(max_length=240)
    size: int
    head: bytes = Field(sa_type=LargeBinary)


class RevocationRow(SQLModel, table=True):
    """A revoked token (`token_id`), or all tokens that a user was issued up to `revoked_at`."""

    __tablename__ = "revocation"
    __table_args__ = (UniqueConstraint("company", "user", "token_id"),)
    id: int | None = Field(default=None, primary_key=True)
    company: str = Field(default="", max_length=64)
    user: str = Field(default="", max_length=64)
    token_id: str = Field(default="", max_length=128)
    revoked_at: datetime = _time()


class ListeningRow(SQLModel, table=True):
    """One row: since when, and until when at least, a worker has been listening without a break."""

    __tablename__ = "listening"
    id: int = Field(default=1, primary_key=True)
    since: datetime = _time()
    until: datetime = _time()


class TurnRow(SQLModel, table=True):
    """Whose turn a job is, and until when: only one of several processes does it."""

    __tablename__ = "turn"
    job: str = Field(primary_key=True, max_length=32)
    holder: str = Field(max_length=64)
    until: datetime = _time()
