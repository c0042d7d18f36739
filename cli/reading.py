"""How the reading commands look into the database: at one moment, and honest about what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from cli import output, wiring
from cli.quantities import time_text
from cli.settings import Settings
from models import queries
from models.errors import NotFound, StoreFailed
from models.events import State
from models.standing import Terms


@dataclass(frozen=True, slots=True)
class Reading:
    """An open look at the database, true at `now`."""

    connection: Connection
    now: datetime
    terms: Terms

    def check_company(self, company: str) -> None:
        """Raise `NotFound` unless COMPANY is known."""
        if not queries.company_exists(self.connection, company):
            raise NotFound(f"no company {company!r}: nobody of it has been heard yet")

    def check(self, company: str, user: str | None) -> None:
        """Raise `NotFound` unless COMPANY and, where one is named, USER are known."""
        if user is None:
            self.check_company(company)
        else:
            self.user_id(company, user)

    def user_id(self, company: str, user: str) -> int:
        """Return the id of the row of USER, or raise `NotFound`."""
        self.check_company(company)
        found = queries.find_user(self.connection, company, user)
        if found is None:
            raise NotFound(f"no user {user!r} in company {company!r}: `fieldbeat who --company {company}` lists them")
        return found

    def state(self, user_id: int) -> State:
        return queries.states(self.connection, [user_id], self.now, self.terms)[user_id]


@contextmanager
def reading(settings: Settings) -> Iterator[Reading]:
    """Look into the database; tell the person at the terminal when nobody has been listening."""
    opened = wiring.ready_engine(settings)
    try:
        with opened.connect() as connection:
            now, gap_s = wiring.now(), settings.listening_gap_s
            since = queries.listening_since(connection, now, gap_s)
            _warn_if_deaf(queries.last_listened(connection), now, gap_s)
            yield Reading(connection, now, replace(wiring.terms(settings), listening_since=since))
    except DBAPIError as error:
        raise StoreFailed(f"the database cannot be read: {error.orig}") from None
    finally:
        opened.dispose()


def _warn_if_deaf(last: datetime | None, now: datetime, gap_s: float) -> None:
    if last is None:
        output.note("the service has not been listening yet: start it with `fieldbeat up`")
    elif (now - last).total_seconds() > gap_s:
        output.note(f"the service has not been listening since {time_text(last)}; what you see is as of then")
