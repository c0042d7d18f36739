"""How the processes that write people let each other through; one that writes alone need not load again what it knows."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from sqlalchemy import Connection

_CROWDED_AFTER = 2
_CROWDED_FOR = 100
"""After how many transactions in a row that found another writer a process writes beside others, and for how many more."""
_PEOPLE_LOCK = 0x6669656C64
"""The advisory lock that goes with the rows of people ("field" in ASCII)."""


class Admission(NamedTuple):
    """On what terms a transaction may write people."""

    alone: bool
    """No other writer is there: nobody need be locked."""
    undisturbed: bool
    """Nor was one since this process wrote last: what it knows of people is still so."""


class Turnstile(Protocol):
    """One database's way of admitting writers."""

    def enter(self, connection: Connection) -> Admission:
        """Wait until the open transaction of CONNECTION may write people."""

    def leave(self, connection: Connection) -> None:
        """Let the others know that people were written; the commit follows."""


class SqliteTurnstile:
    """SQLite admits one writer at a time anyway, and counts what the others commit [sqlite.org/pragma.html#pragma_data_version]."""

    def __init__(self) -> None:
        self._version: int | None = None

    def enter(self, connection: Connection) -> Admission:
        version = connection.exec_driver_sql("PRAGMA data_version").scalar()
        undisturbed, self._version = version == self._version, version
        return Admission(alone=True, undisturbed=undisturbed)

    def leave(self, connection: Connection) -> None:
        """The version counts by itself."""


class PostgresqlTurnstile:
    """A writer enters alone as long as it meets nobody; those who meet enter together, and lock each person they write.

    Each counts `people_written` up before it commits, with its lock still held. So whoever enters alone and finds the count as it
    left it knows that nobody else has written since.
    """

    def __init__(self) -> None:
        self._count: int | None = None
        self._met = 0
        self._beside = 0

    def enter(self, connection: Connection) -> Admission:
        if self._beside:
            self._beside -= 1
            self._count = None
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({_PEOPLE_LOCK})")
            return Admission(alone=False, undisturbed=False)
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_PEOPLE_LOCK})")
        # In a statement of its own: the count must be read after the lock is held.
        count = connection.exec_driver_sql("SELECT last_value FROM people_written").scalar()
        undisturbed = count == self._count
        self._met = 0 if undisturbed else self._met + 1
        if self._met > _CROWDED_AFTER:
            self._met, self._beside = 0, _CROWDED_FOR
        return Admission(alone=True, undisturbed=undisturbed)

    def leave(self, connection: Connection) -> None:
        self._count = connection.exec_driver_sql("SELECT nextval('people_written')").scalar()
