"""`fieldbeat doctor`: what works, what does not, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import typer
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from broker.mqtt_link import probe
from cli import output, settings, wiring
from cli.masking import masked
from cli.options import AsJson
from cli.output import Column
from cli.quantities import age_text, time_text
from cli.settings import Loaded, Settings
from ingest.database import REVISION
from models import queries
from models.errors import FieldbeatError

_BUILT = datetime(2026, 11, 1, tzinfo=UTC)
"""No honest clock shows a time before this version was made."""
_SKEW = timedelta(seconds=5)
_OTHERS = 0o077


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILS = "fails"


class Check(NamedTuple):
    """What was looked at, how it went, what was found, and what to do."""

    what: str
    verdict: Verdict
    found: str
    advice: str = ""


def doctor(as_json: AsJson = False) -> None:
    """Check settings, keys, clock, database, broker, queue and listening: exit status 1 if something does not work."""
    loaded = settings.load_with_origins()
    chosen = loaded.settings
    # What the probe would log is in the table.
    output.start_logging("debug" if chosen.log_level == "debug" else "critical", chosen.log_format)
    checks = [_settings(loaded), _files(chosen), _keys(chosen), *_database(chosen), _broker(chosen)]
    if as_json:
        output.out_json([one._asdict() for one in checks])
    else:
        columns = Column("check"), Column("result", coloured=True), Column("found"), Column("what to do")
        output.table(columns, [(one.what, str(one.verdict), one.found, one.advice) for one in checks])
    if any(one.verdict is Verdict.FAILS for one in checks):
        raise typer.Exit(1)


def _settings(loaded: Loaded) -> Check:
    if loaded.warnings:
        return Check("settings", Verdict.WARNING, "; ".join(loaded.warnings), "rename or remove these variables")
    return Check("settings", Verdict.OK, "all are usable")


def _files(chosen: Settings) -> Check:
    try:
        place = wiring.data_dir(chosen)
        exposed = [path for path in (place, chosen.secret_file) if path.exists() and path.stat().st_mode & _OTHERS]
    except OSError as error:
        return Check("data directory", Verdict.FAILS, f"{error.filename}: {error.strerror}", "set FIELDBEAT_DATA_DIR")
    if exposed:
        names = " ".join(str(path) for path in exposed)
        return Check("data directory", Verdict.WARNING, f"others may look into {names}", f"chmod go= {names}")
    return Check("data directory", Verdict.OK, f"{place} is its owner's alone")


def _keys(chosen: Settings) -> Check:
    try:
        keys = wiring.keys(chosen)
        issuing = chosen.broker_token is None and wiring.issuing_key(chosen).kid
    except FieldbeatError as error:
        return Check("keys", Verdict.FAILS, str(error), "correct the setting, or set FIELDBEAT_BROKER_TOKEN")
    usable = ", ".join(f"{key.kid} ({key.algorithm})" for key in keys)
    return Check("keys", Verdict.OK, f"{usable}; {issuing or 'none'} issues the service's token")


def _database(chosen: Settings) -> Iterator[Check]:
    now = wiring.now()
    try:
        opened = wiring.ready_engine(chosen)
        with opened.connect() as connection:
            yield Check("database", Verdict.OK, f"{opened.dialect.name}, schema {REVISION}")
            yield _clock(connection, now)
            yield _listening(connection, now, chosen.listening_gap_s)
            yield _queue(connection, now, chosen.republish_interval)
    except FieldbeatError as error:
        yield Check("database", Verdict.FAILS, str(error), "see FIELDBEAT_DATABASE_URL")
        yield _clock(None, now)
    except (DBAPIError, OSError) as error:
        yield Check("database", Verdict.FAILS, str(getattr(error, "orig", error)), "see FIELDBEAT_DATABASE_URL")


def _clock(connection: Connection | None, now: datetime) -> Check:
    """Compare our clock with this version's age and, where the database is another host, with the database's."""
    advice = "set the clock: `timedatectl` says whether it is synchronised"
    if now < _BUILT:
        return Check("clock", Verdict.FAILS, f"it shows {time_text(now)}, before this version was made", advice)
    if connection is not None:
        last = queries.last_listened(connection)
        if last is not None and last > now + _SKEW:
            return Check("clock", Verdict.FAILS, f"it is behind what was written at {time_text(last)}", advice)
        if connection.dialect.name == "postgresql":
            theirs = connection.execute(select(func.clock_timestamp())).scalar_one()
            if abs(theirs - wiring.now()) > _SKEW:
                return Check("clock", Verdict.FAILS, f"the database's clock shows {time_text(theirs)}", advice)
    return Check("clock", Verdict.OK, time_text(now))


def _listening(connection: Connection, now: datetime, gap_s: float) -> Check:
    last = queries.last_listened(connection)
    advice = "start `fieldbeat up` or `fieldbeat ingest`"
    if last is None:
        return Check("listening", Verdict.FAILS, "nobody has ever listened", advice)
    if (now - last).total_seconds() > gap_s:
        return Check("listening", Verdict.FAILS, f"nobody since {time_text(last)} ({age_text(last, now)})", advice)
    since = queries.listening_since(connection, now, gap_s)
    return Check("listening", Verdict.OK, f"without a break for {age_text(since, now)}")


def _queue(connection: Connection, now: datetime, republish_interval_s: float) -> Check:
    waiting = queries.counts(connection)["unconfirmed_events"]
    overdue = now - timedelta(seconds=republish_interval_s)
    if queries.unconfirmed_events(connection, overdue, 1):
        advice = "see to broker and listening; `fieldbeat jobs --once` publishes again"
        return Check("queue", Verdict.FAILS, f"{waiting} events wait for the broker, some too long", advice)
    return Check("queue", Verdict.OK, f"{waiting} events wait for the broker")


def _broker(chosen: Settings) -> Check:
    where = masked(chosen, "broker_url")
    try:
        trouble = probe(chosen.broker, wiring.service_username(chosen), wiring.service_token(chosen))
    except FieldbeatError as error:
        trouble = str(error)
    if trouble is None:
        return Check("broker", Verdict.OK, f"{where} takes the service's token")
    advice = "start `fieldbeat up` or `fieldbeat broker`, or see FIELDBEAT_BROKER_URL and the broker's keys"
    return Check("broker", Verdict.FAILS, f"{where}: {trouble}", advice)
