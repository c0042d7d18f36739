"""Create the first schema."""

import sqlalchemy as sa
from alembic import op

from models.tables import BigKey, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "activity_log",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=True),
        sa.Column("project", sa.String(length=128), nullable=True),
        sa.Column("task", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "at", "digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "company",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("enrolled_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "history",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("session_id", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.BigInteger(), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("accuracy", sa.Float(), nullable=True),
        sa.Column("altitude", sa.Float(), nullable=True),
        sa.Column("speed", sa.Float(), nullable=True),
        sa.Column("heading", sa.Float(), nullable=True),
        sa.Column("battery", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "at", "session_id", "message"),
        sa.UniqueConstraint("session_id", "message"),
        sqlite_with_rowid=False,
    )
    # Not in a batch: that would copy the table to one with rowids on SQLite.
    op.create_index("history_by_receipt", "history", ["received_at"], unique=False, postgresql_using="brin")
    op.create_table(
        "listening",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "rejected",
        sa.Column("id", BigKey, nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("company", sa.String(length=64), nullable=True),
        sa.Column("topic", sa.String(length=256), nullable=False),
        sa.Column("reason", sa.String(length=240), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("rejected", schema=None) as batch_op:
        batch_op.create_index("rejected_by_company", ["company", "id"], unique=False)
        batch_op.create_index("rejected_by_time", ["received_at"], unique=False)

    op.create_table(
        "revocation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("company", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=False),
        sa.Column("token_id", sa.String(length=128), nullable=False),
        sa.Column("revoked_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("company", "user", "token_id"),
    )
    op.create_table(
        "status_log",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("set_at", UtcDateTime(), nullable=False),
        sa.Column("message", sa.String(length=280), nullable=True),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "set_at"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "turn",
        sa.Column("job", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("job"),
    )
    op.create_table(
        "user_account",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("enrolled_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["company.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("company_id", "name"),
    )
    op.create_table(
        "device",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("enrolled_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user_account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user_id", "name"),
    )
    op.create_table(
        "event",
        sa.Column("id", BigKey, nullable=False),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("company_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=16), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=False),
        sa.Column("confirmed_at", UtcDateTime(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id"],
            ["company.id"],
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user_account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index("event_by_company", ["company_id", "id"], unique=False)
        batch_op.create_index("event_by_user", ["user_id", "id"], unique=False)
        batch_op.create_index(
            "event_unconfirmed",
            ["id"],
            unique=False,
            sqlite_where=sa.text("confirmed_at IS NULL"),
            postgresql_where=sa.text("confirmed_at IS NULL"),
        )

    op.create_table(
        "presence",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=True),
        sa.Column("since", UtcDateTime(), nullable=True),
        sa.Column("project", sa.String(length=128), nullable=True),
        sa.Column("task", sa.String(length=128), nullable=True),
        sa.Column("message", sa.String(length=280), nullable=True),
        sa.Column("message_updated_at", UtcDateTime(), nullable=True),
        sa.Column("devices", sa.String(), nullable=False),
        sa.Column("work_project", sa.String(length=128), nullable=True),
        sa.Column("work_task", sa.String(length=128), nullable=True),
        sa.Column("work_at", UtcDateTime(), nullable=True),
        sa.Column("text_message", sa.String(length=280), nullable=True),
        sa.Column("text_set_at", UtcDateTime(), nullable=True),
        sa.Column("text_until", UtcDateTime(), nullable=True),
        sa.Column("rev", sa.BigInteger(), nullable=False),
        sa.Column("published_rev", sa.BigInteger(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user_account.id"],
        ),
        sa.PrimaryKeyConstraint("user_id"),
    )
    with op.batch_alter_table("presence", schema=None) as batch_op:
        batch_op.create_index(
            "presence_due",
            ["due_at"],
            unique=False,
            sqlite_where=sa.text("due_at IS NOT NULL"),
            postgresql_where=sa.text("due_at IS NOT NULL"),
        )
        batch_op.create_index(
            "presence_unpublished",
            ["user_id"],
            unique=False,
            sqlite_where=sa.text("rev > published_rev"),
            postgresql_where=sa.text("rev > published_rev"),
        )

    op.create_table(
        "device_session",
        sa.Column("id", BigKey, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("heard_at", UtcDateTime(), nullable=True),
        sa.Column("lost_at", UtcDateTime(), nullable=True),
        sa.Column("left_at", UtcDateTime(), nullable=True),
        sa.Column("left_reason", sa.String(length=16), nullable=False),
        sa.Column("superseded_at", UtcDateTime(), nullable=True),
        sa.Column("lapsed_at", UtcDateTime(), nullable=True),
        sa.Column("seen_before", UtcDateTime(), nullable=True),
        sa.Column("word", sa.String(length=8), nullable=True),
        sa.Column("word_at", UtcDateTime(), nullable=True),
        sa.Column("word_seq", sa.BigInteger(), nullable=True),
        sa.Column("battery", sa.Float(), nullable=True),
        sa.Column("battery_at", UtcDateTime(), nullable=True),
        sa.Column("battery_seq", sa.BigInteger(), nullable=True),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("accuracy", sa.Float(), nullable=True),
        sa.Column("fix_at", UtcDateTime(), nullable=True),
        sa.Column("fix_seq", sa.BigInteger(), nullable=True),
        sa.Column("project", sa.String(length=128), nullable=True),
        sa.Column("task", sa.String(length=128), nullable=True),
        sa.Column("work_at", UtcDateTime(), nullable=True),
        sa.Column("work_seq", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_id"],
            ["device.id"],
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user_account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("device_id", "token"),
    )
    with op.batch_alter_table("device_session", schema=None) as batch_op:
        batch_op.create_index(
            "device_session_current",
            ["user_id"],
            unique=False,
            sqlite_where=sa.text("superseded_at IS NULL"),
            postgresql_where=sa.text("superseded_at IS NULL"),
        )


def downgrade() -> None:
    with op.batch_alter_table("device_session", schema=None) as batch_op:
        batch_op.drop_index(
            "device_session_current",
            sqlite_where=sa.text("superseded_at IS NULL"),
            postgresql_where=sa.text("superseded_at IS NULL"),
        )

    op.drop_table("device_session")
    with op.batch_alter_table("presence", schema=None) as batch_op:
        batch_op.drop_index(
            "presence_unpublished",
            sqlite_where=sa.text("rev > published_rev"),
            postgresql_where=sa.text("rev > published_rev"),
        )
        batch_op.drop_index(
            "presence_due", sqlite_where=sa.text("due_at IS NOT NULL"), postgresql_where=sa.text("due_at IS NOT NULL")
        )

    op.drop_table("presence")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index(
            "event_unconfirmed",
            sqlite_where=sa.text("confirmed_at IS NULL"),
            postgresql_where=sa.text("confirmed_at IS NULL"),
        )
        batch_op.drop_index("event_by_user")
        batch_op.drop_index("event_by_company")

    op.drop_table("event")
    op.drop_table("device")
    op.drop_table("user_account")
    op.drop_table("turn")
    op.drop_table("status_log")
    op.drop_table("revocation")
    with op.batch_alter_table("rejected", schema=None) as batch_op:
        batch_op.drop_index("rejected_by_time")
        batch_op.drop_index("rejected_by_company")

    op.drop_table("rejected")
    op.drop_table("listening")
    op.drop_index("history_by_receipt", table_name="history", postgresql_using="brin")
    op.drop_table("history")
    op.drop_table("company")
    op.drop_table("activity_log")
