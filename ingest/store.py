"""The only writer: one transaction a batch, with sessions, history, logs, events and refused messages together."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, case, update

from ingest.decode import Decoded, Ignored, Rejected
from ingest.dialect import Dialect
from ingest.partitions import Partitions, days_of
from ingest.register import Register
from ingest.rejected import write_rejected
from ingest.transaction import Transaction
from models import queries
from models.errors import Refusal
from models.events import State
from models.facts import Ended, Reason
from models.people import Name
from models.queries import EVENT, LISTENING, PRESENCE, REVOCATION
from models.standing import Terms
from models.tables import TurnRow, table
from models.values import integers, rows

TURN = table(TurnRow)

Outcome = Decoded | Rejected | Ignored

SLICE = 250
"""How many messages are worked on at once: not more than stay in a processor's caches, which are several times quicker than its memory."""


class Written(Struct, frozen=True):
    """What became of a batch; `late` are those of the stored messages that came after newer ones of their session, `touched` the users
    who were heard of."""

    stored: int = 0
    late: int = 0
    duplicates: int = 0
    ignored: int = 0
    events: int = 0
    refusals: Mapping[Refusal, int] = {}
    touched: frozenset[int] = frozenset()

    @property
    def rejected(self) -> int:
        return sum(self.refusals.values())


class Swept(Struct, frozen=True):
    """What a sweep found: users whose time was up, and the events that followed."""

    users: int
    events: int


class Store:
    """Writes what was understood. Safe to use from several threads."""

    def __init__(self, engine: Engine, terms: Terms, *, enrol: bool = True, listening_gap_s: float = 10.0) -> None:
        self._dialect = Dialect(engine)
        self._register = Register(self._dialect, enrol=enrol)
        self._partitions = Partitions()
        self._terms = terms
        self._gap_s = listening_gap_s
        # SQLite has one writer at a time and lets the others poll: ours queue up here instead.
        self._lock = threading.Lock()

    def write(self, outcomes: Iterable[Outcome], now: datetime) -> Written:
        """Store a batch, all of it or nothing; raise `StoreFailed` to try again later, `StoreRefused` for what can never be stored.

        OUTCOMES that are made on their way here, by `map`, are used and gone while the processor's caches still have them.
        """
        coming, refused, ignored = iter(outcomes), [], 0
        with self._writing_people() as (connection, lock), self._dialect.sending(connection) as way:
            transaction = Transaction(way, self._dialect, self._terms_at(connection, now), now)
            # Who locks must do so in one order throughout the batch.
            size = None if lock else SLICE
            while taken := list(islice(coming, size)):
                decoded = [outcome for outcome in taken if type(outcome) is Decoded]
                refused += [outcome for outcome in taken if type(outcome) is Rejected]
                ignored += sum(type(outcome) is Ignored for outcome in taken)
                days = days_of([one.received for one in decoded])
                if self._partitions.lack(days):
                    self._partitions.ensure(way.settled(), days)
                admitted = self._register.admit(way, decoded, now, lock=lock)
                transaction.advance(admitted)
                refused += admitted.refused
                # Where there is one stranger there are more, and to ask after many costs little more.
                if not admitted.all_known:
                    size = None
            transaction.flush()
            write_rejected(way.settled(), refused)
        return Written(
            stored=transaction.stored,
            late=transaction.late,
            duplicates=transaction.copies,
            ignored=ignored,
            events=transaction.events,
            refusals=Counter([one.refusal for one in refused]),
            touched=transaction.touched,
        )

    @contextmanager
    def _writing(self, *, lasting: bool = True) -> Iterator[Connection]:
        """Open a transaction that writes, but writes no people."""
        with self._lock, self._dialect.writing(lasting=lasting) as connection:
            yield connection

    @contextmanager
    def _noting(self) -> Iterator[Connection]:
        """Open a transaction that writes what no batch does; it waits for none where the database can do both at once."""
        if self._dialect.one_writer:
            with self._writing() as connection:
                yield connection
        else:
            with self._dialect.writing(lasting=False) as connection:
                yield connection

    @contextmanager
    def _writing_people(self) -> Iterator[tuple[Connection, bool]]:
        """Open a transaction that writes people; they must be locked when told so. Whom it leaves unwritten is forgotten."""
        with self._lock:
            try:
                with self._dialect.writing() as connection:
                    alone, undisturbed = self._dialect.turnstile.enter(connection)
                    if not undisturbed:
                        self._register.forget()
                    self._register.make_room()
                    yield connection, not alone
                    self._dialect.turnstile.leave(connection)
            except BaseException:
                self._register.forget()
                self._partitions.forget()
                raise

    def sweep(self, now: datetime, limit: int, *, dry_run: bool = False) -> Swept:
        """End the leases that have run out, of up to LIMIT users; with DRY_RUN only say how many."""
        with self._writing_people() as (connection, lock), self._dialect.sending(connection) as way:
            due = queries.due_users(connection, now, limit)
            if not due:
                return Swept(0, 0)
            transaction = Transaction(way, self._dialect, self._terms_at(connection, now), now)
            transaction.settle(self._register.numbered(connection, due, lock=lock))
            if dry_run:
                self._register.forget()
            else:
                transaction.flush()
            return Swept(len(due), transaction.events)

    def revoke_token(self, token_id: str, company: str, user: str, device: str | None, at: datetime) -> None:
        """Revoke one token; where it names a DEVICE, that device's lease ends too. (Otherwise its will is what ends it.)"""
        with self._writing_people() as (connection, lock):
            self._revoke(connection, {"company": company, "user": user, "token_id": token_id, "revoked_at": at})
            if device is not None:
                self._end(connection, (company, user), Ended(at, Reason.TOKEN_REVOKED, device), lock=lock)

    def revoke_user(self, company: str, user: str, at: datetime) -> None:
        """Revoke all tokens that the user was issued up to AT, and end the leases of all of the user's devices."""
        with self._writing_people() as (connection, lock):
            self._revoke(connection, {"company": company, "user": user, "token_id": "", "revoked_at": at})
            self._end(connection, (company, user), Ended(at, Reason.TOKEN_REVOKED), lock=lock)

    def _revoke(self, connection: Connection, row: dict[str, object]) -> None:
        new = self._dialect.insert(REVOCATION)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=[REVOCATION.c.company, REVOCATION.c.user, REVOCATION.c.token_id],
                set_={"revoked_at": new.excluded.revoked_at},
            ),
            row,
        )

    def _end(self, connection: Connection, name: Name, signal: Ended, *, lock: bool) -> None:
        now = signal.received
        with self._dialect.sending(connection) as way:
            transaction = Transaction(way, self._dialect, self._terms_at(connection, now), now)
            for member in self._register.named(connection, [name], lock=lock):
                transaction.end(member, signal)
            transaction.flush()

    def listen(self, now: datetime) -> None:
        """Note that a worker is listening at NOW; an unbroken spell goes on, a broken one begins anew (contract 4.7)."""
        oldest = now - timedelta(seconds=self._gap_s)
        new = self._dialect.insert(LISTENING)
        with self._noting() as connection:
            connection.execute(
                new.on_conflict_do_update(
                    index_elements=[LISTENING.c.id],
                    set_={
                        "since": case((LISTENING.c.until < oldest, new.excluded.since), else_=LISTENING.c.since),
                        "until": case(
                            (LISTENING.c.until < new.excluded.until, new.excluded.until), else_=LISTENING.c.until
                        ),
                    },
                ),
                {"id": 1, "since": now, "until": now},
            )

    def _terms_at(self, connection: Connection, now: datetime) -> Terms:
        return replace(self._terms, listening_since=queries.listening_since(connection, now, self._gap_s))

    def take_turn(self, job: str, holder: str, now: datetime, for_s: float) -> bool:
        """Whether it is HOLDER's turn to do JOB: nobody else's is still running. The turn then lasts FOR_S seconds."""
        new = self._dialect.insert(TURN)
        with self._noting() as connection:
            taken = connection.execute(
                new.on_conflict_do_update(
                    index_elements=[TURN.c.job],
                    set_={"holder": new.excluded.holder, "until": new.excluded.until},
                    where=(TURN.c.until <= now) | (TURN.c.holder == holder),
                ).returning(TURN.c.job),
                {"job": job, "holder": holder, "until": now + timedelta(seconds=for_s)},
            )
            return taken.first() is not None

    def end_turns(self, holder: str) -> None:
        """Let others have the turns that are HOLDER's."""
        with self._noting() as connection:
            connection.execute(TURN.delete().where(TURN.c.holder == holder))

    def unconfirmed_events(self, limit: int) -> list[RowMapping]:
        """Return the oldest events that no broker has confirmed."""
        with self._dialect.reading() as connection:
            return queries.unconfirmed_events(connection, None, limit)

    def counts(self) -> dict[str, int]:
        """Return how much there is of what an operator asks after."""
        with self._dialect.reading() as connection:
            return queries.counts(connection)

    def unpublished(self, limit: int) -> list[int]:
        """Return users whose present state has not been published."""
        with self._dialect.reading() as connection:
            return queries.unpublished(connection, limit)

    def users_after(self, user_id: int, limit: int) -> list[int]:
        """Return the users that follow USER_ID."""
        with self._dialect.reading() as connection:
            return queries.all_users(connection, user_id, limit)

    def confirm_events(self, event_ids: Sequence[int], now: datetime) -> None:
        """Note that the broker has taken the events."""
        with self._noting() as connection:
            taken = EVENT.c.id.in_(integers(connection, event_ids))
            connection.execute(update(EVENT).where(taken).values(confirmed_at=now))

    def states(self, user_ids: Sequence[int], now: datetime) -> dict[int, State]:
        """Return the states of USER_IDS, true at NOW."""
        with self._dialect.reading() as connection:
            return queries.states(connection, user_ids, now, self._terms_at(connection, now))

    def next_states(self, user_ids: Sequence[int], now: datetime) -> dict[int, State]:
        """Return the states of USER_IDS, true at NOW, each with a `rev` above all that were published."""
        with self._writing() as connection:
            _count_up(connection, user_ids)
        return self.states(user_ids, now)

    def hand_on(self, user_ids: Sequence[int], since: datetime) -> dict[int, datetime]:
        """Have the states of USER_IDS published by whoever does that; return when those were that have been published after SINCE."""
        published_at = PRESENCE.c.published_at
        with self._writing() as connection:
            _count_up(connection, user_ids, published_at.is_(None) | (published_at <= since))
            return queries.published(connection, user_ids, since)

    def confirm_states(self, revs: Mapping[int, int], at: datetime) -> None:
        """Note which revs of which users' states, true at the time AT, the broker has taken."""
        if revs:
            with self._writing(lasting=False) as connection:
                taken = rows(connection, revs.items(), int, int)
                stale = PRESENCE.c.user_id == taken.c.v0, PRESENCE.c.published_rev < taken.c.v1
                connection.execute(update(PRESENCE).where(*stale).values(published_rev=taken.c.v1, published_at=at))


def _count_up(connection: Connection, user_ids: Sequence[int], *among: ColumnElement[bool]) -> None:
    """Give USER_IDS a `rev` above all that were published: what was announced has one already, what only moved gets the next."""
    stale = PRESENCE.c.user_id.in_(integers(connection, user_ids)), PRESENCE.c.rev == PRESENCE.c.published_rev
    connection.execute(update(PRESENCE).where(*stale, *among).values(rev=PRESENCE.c.rev + 1))
