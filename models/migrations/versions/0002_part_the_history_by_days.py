"""Part the history by days on PostgreSQL, and note how far each session's messages in it reach."""

from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

from models.tables import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_CHANGING = ("device_session", "presence")
_STORAGE = {"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02, "autovacuum_analyze_scale_factor": 0.05}
_NEWEST = """
    UPDATE device_session SET newest_at = said.newest_at, newest_seq = said.newest_seq
    FROM (
        SELECT session_id, max(CASE WHEN at <> received_at THEN at END) AS newest_at,
               max(CASE WHEN message >= 0 THEN message ELSE -1 END) AS newest_seq
        FROM history GROUP BY session_id
    ) AS said
    WHERE said.session_id = device_session.id
"""


def upgrade() -> None:
    op.add_column("device_session", sa.Column("newest_at", UtcDateTime(), nullable=True))
    op.add_column("device_session", sa.Column("newest_seq", sa.BigInteger(), server_default="-1", nullable=False))
    op.execute(_NEWEST)
    if op.get_bind().dialect.name == "postgresql":
        _part()
        op.execute("CREATE SEQUENCE people_written")
        settings = ", ".join(f"{name} = {value}" for name, value in _STORAGE.items())
        for table in _CHANGING:
            op.execute(f"ALTER TABLE {table} SET ({settings})")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in _CHANGING:
            op.execute(f"ALTER TABLE {table} RESET ({', '.join(_STORAGE)})")
        op.execute("DROP SEQUENCE people_written")
        _join()
    op.drop_column("device_session", "newest_seq")
    op.drop_column("device_session", "newest_at")


def _columns() -> list[sa.Column[Any]]:
    measured = ("latitude", "longitude", "accuracy", "altitude", "speed", "heading", "battery")
    return [
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("session_id", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=True) for name in measured),
    ]


def _part() -> None:
    """Cut the history into a partition for each UTC day of receipt."""
    op.rename_table("history", "history_whole")
    parted = op.create_table("history", *_columns(), postgresql_partition_by="RANGE (received_at)")
    found = "SELECT DISTINCT (received_at AT TIME ZONE 'UTC')::date FROM history_whole"
    days: list[date] = list(op.get_bind().execute(sa.text(found)).scalars())
    for day in days:
        limits = f"FROM ('{day}T00:00:00Z') TO ('{day + timedelta(days=1)}T00:00:00Z')"
        op.execute(f"CREATE TABLE history_{day:%Y%m%d} PARTITION OF history FOR VALUES {limits}")
    _move("history_whole", parted, "received_at")
    op.create_index("history_by_user", "history", ["user_id", "at"])
    op.create_index("history_by_session", "history", ["session_id", "message"])


def _join() -> None:
    """Put the history back into one table, with its keys."""
    op.rename_table("history", "history_parted")
    _move("history_parted", op.create_table("history", *_columns()), "user_id", "at")
    op.create_primary_key("history_pkey", "history", ["user_id", "at", "session_id", "message"])
    op.create_unique_constraint("history_session_id_message_key", "history", ["session_id", "message"])
    op.create_index("history_by_receipt", "history", ["received_at"], postgresql_using="brin")


def _move(old: str, new: sa.Table, *order: str) -> None:
    """Copy all rows from OLD to NEW in ORDER, and drop OLD."""
    names = [column.name for column in new.columns]
    rows = sa.table(old, *(sa.column(name) for name in names))
    op.execute(new.insert().from_select(names, sa.select(rows).order_by(*(rows.c[name] for name in order))))
    op.drop_table(old)
