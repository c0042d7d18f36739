"""The schema's history, for Alembic; shipped in the wheel."""
