"""`fieldbeat db`: migrations, consistency, retention."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import typer
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError

from cli import output, settings, wiring
from cli.options import AsJson, duration
from cli.output import Column
from ingest import database
from ingest import prune as retention
from models.errors import NotFound, StoreFailed
from models.queries import ACTIVITY, DEVICE, EVENT, HISTORY, PRESENCE, SESSION, STATUS, USER

_ORPHANS = {
    "devices without a user": (DEVICE.c.user_id, USER.c.id),
    "sessions without a device": (SESSION.c.device_id, DEVICE.c.id),
    "presences without a user": (PRESENCE.c.user_id, USER.c.id),
    "history without a session": (HISTORY.c.session_id, SESSION.c.id),
    "activities without a user": (ACTIVITY.c.user_id, USER.c.id),
    "status texts without a user": (STATUS.c.user_id, USER.c.id),
    "events without a user": (EVENT.c.user_id, USER.c.id),
}


class Found(NamedTuple):
    """What one check found, and whether it is as it should be."""

    check: str
    holds: bool
    found: str


def upgrade() -> None:
    """Bring the database's schema up to date."""
    before, after = database.upgrade(wiring.engine(settings.load()))
    changed = before != after
    output.out(
        f"the schema went from {before or 'nothing'} to {after}" if changed else f"the schema is {after} already"
    )


def check(as_json: AsJson = False) -> None:
    """Check schema, files and references of the database: exit status 1 if anything is wrong."""
    chosen = settings.load()
    findings: list[Found] = []
    try:
        opened = wiring.engine(chosen)
        revision = database.schema_revision(opened)
        if revision is None:
            raise NotFound("the database is empty: run `fieldbeat db upgrade`")
        current = revision == database.REVISION
        findings.append(Found("schema", current, revision if current else f"{revision}, not {database.REVISION}"))
        with opened.connect() as connection:
            findings.extend(_file(connection))
            findings.extend(_references(connection))
    except DBAPIError as error:
        raise StoreFailed(f"the database cannot be read: {error.orig}") from None
    if as_json:
        output.out_json([one._asdict() for one in findings])
    else:
        columns = Column("check"), Column("result", coloured=True), Column("found")
        output.table(columns, [(one.check, "ok" if one.holds else "fails", one.found) for one in findings])
    if not all(one.holds for one in findings):
        raise typer.Exit(1)


def _file(connection: Connection) -> list[Found]:
    if connection.dialect.name != "sqlite":
        return []
    verdict = connection.execute(text("PRAGMA integrity_check(1)")).scalar_one()
    return [Found("file", verdict == "ok", str(verdict))]


def _references(connection: Connection) -> list[Found]:
    findings = []
    with output.progress("checking references") as tell:
        for done, (what, (child, parent)) in enumerate(_ORPHANS.items()):
            tell(what, done)
            count = connection.execute(select(func.count()).where(child.not_in(select(parent)))).scalar_one()
            findings.append(Found(what, count == 0, str(count)))
    return findings


def prune(
    older_than: Annotated[str, typer.Option("--older-than", help="Remove what is older than this, as in 90d.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much that would be.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove old history, logs, confirmed events and refused messages; the present state stays as it is."""
    chosen = settings.load()
    before = wiring.now() - duration("--older-than", older_than)
    with output.progress("pruning") as tell:
        removed = retention.prune(wiring.ready_engine(chosen), before, dry_run=dry_run, progress=tell)
    if as_json:
        result: dict[str, Any] = {"dryRun": dry_run, "rows": removed}
        output.out_json(result)
        return
    heading = "rows to remove" if dry_run else "rows removed"
    rows = [(name, f"{count:,}") for name, count in removed.items()]
    output.table((Column("table"), Column(heading, right=True)), rows)
