"""Note when each user's state was published, so that several workers together do not publish it too often."""

import sqlalchemy as sa
from alembic import op

from models.tables import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("presence", sa.Column("published_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("presence", "published_at")
