"""Announce what was stored: events in order, then states; outside the write transaction, and until the broker has confirmed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import msgspec

from broker.link import Confirmation, Link, Spell
from ingest.movements import Movements
from ingest.store import Store
from ingest.trouble import Trouble
from models import topics
from models.errors import LinkLost, StoreFailed
from models.topics import Address, Channel

log = logging.getLogger(__name__)

OFFLINE_NOTICE = b'{"online":false}'
"""The last will of the service on `fieldbeat/service`."""

_PAGE = 500
_CONFIRM_S = 10.0
_POLL_S = 0.5
_TURN_S = 4.0
_JOB = "outbox"


class Outbox:
    """Relays from one process at a time; `tell` is called by the worker, `run` has a thread of its own."""

    def __init__(
        self,
        store: Store,
        link: Link,
        holder: str,
        version: str,
        state_interval_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._link = link
        self._holder = holder
        self._version = version
        self._clock = clock
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        # A job may relay while `run` does: the second waits, or everything would be said twice.
        self._relaying = threading.Lock()
        self._trouble = Trouble(log, "announcing", "relay_paused")
        self._interval = timedelta(seconds=state_interval_s)
        self._movements = Movements(state_interval_s)
        self._spell: Spell | None = None
        self._all_after: int | None = None
        self._turn_until = 0.0

    def tell(self, users: Collection[int], *, busy: bool = False) -> None:
        """Note that USERS were heard of; while the pipe is BUSY, what only moved gets little time."""
        with self._lock:
            self._movements.busy = busy
            self._movements.note(users, time.monotonic())
        self._wake.set()

    def wake(self) -> None:
        """Look for something to announce now."""
        self._wake.set()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Relay until stopped; then tell that the service is gone."""
        done = True
        while not self._stop.is_set():
            # What could not be announced is due all the time: to look again at once would be to do nothing else.
            self._wake.wait(self._pause_s() if done else _POLL_S)
            self._wake.clear()
            done = self.relay()
        self._say_service(online=False)
        self._end_turn()

    def relay(self) -> bool:
        """Announce all that is due; return whether nothing was left over."""
        try:
            with self._relaying:
                done = self._relay()
        except (LinkLost, StoreFailed) as error:
            self._trouble.met(str(error))
            return False
        self._trouble.over()
        return done

    def _relay(self) -> bool:
        spell = self._link.spell
        if spell is None:
            return False
        if not self._has_turn():
            while self._hand_on() and not self._stop.is_set():
                continue
            return False
        self._greet(spell)
        while self._relay_events() or self._relay_states():
            if self._stop.is_set() or not self._has_turn():
                return False
        return True

    def _pause_s(self) -> float:
        with self._lock:
            due = self._movements.next_at()
        return _POLL_S if due is None else min(_POLL_S, max(0.0, due - time.monotonic()))

    def _has_turn(self) -> bool:
        if time.monotonic() > self._turn_until:
            if not self._store.take_turn(_JOB, self._holder, self._clock(), _TURN_S):
                return False
            self._turn_until = time.monotonic() + _TURN_S / 2
        return True

    def _end_turn(self) -> None:
        try:
            self._store.end_turns(self._holder)
        except StoreFailed as error:
            log.warning("%s", error, extra={"action": "turn_kept"})

    def _greet(self, spell: Spell) -> None:
        """In a new spell say that the service is there, and, where the broker kept nothing, all states again."""
        if spell is self._spell:
            return
        if not self._say_service(online=True):
            raise LinkLost("the broker did not confirm in time")
        first, self._spell = self._spell is None, spell
        if first or not spell.resumed:
            self._all_after = 0

    def _say_service(self, *, online: bool) -> bool:
        """Say whether the service is there; return whether the broker has taken it."""
        said = {"online": True, "since": f"{self._clock():%Y-%m-%dT%H:%M:%SZ}", "version": self._version}
        payload = msgspec.json.encode(said) if online else OFFLINE_NOTICE
        try:
            return self._link.publish(topics.SERVICE, payload, retain=True).wait(_CONFIRM_S if online else 1.0)
        except LinkLost as error:
            log.warning("%s", error, extra={"action": "service_notice_lost"})
            return False

    def _relay_events(self) -> bool:
        """Publish a page of events; return whether there may be more."""
        rows = self._store.unconfirmed_events(_PAGE)
        sent = []
        for row in rows:
            topic = Address(row["company"], Channel(row["channel"]), row["user"]).topic
            sent.append((row["id"], self._link.publish(topic, row["payload"])))
        confirmed = _confirmed(sent)
        if confirmed:
            self._store.confirm_events(confirmed, self._clock())
        if len(confirmed) < len(rows):
            raise LinkLost("the broker did not confirm in time")
        return len(rows) == _PAGE

    def _relay_states(self) -> bool:
        """Publish a page of states: first those that changed, then those that moved, then the rest where all are due."""
        changed = self._store.unpublished(_PAGE)
        user_ids = changed or self._due_users()
        if not user_ids:
            return False
        read = self._store.states if changed else self._store.next_states
        with self._publishing(user_ids, moved=not changed):
            now = self._clock()
            states = read(user_ids, now)
            sent = []
            for user_id, state in states.items():
                topic = Address(state.company, Channel.STATE, state.user).topic
                sent.append((user_id, self._link.publish(topic, msgspec.json.encode(state.to_json()), retain=True)))
            confirmed = _confirmed(sent)
            self._store.confirm_states({user_id: states[user_id].rev for user_id in confirmed}, now)
        if len(confirmed) < len(sent):
            raise LinkLost("the broker did not confirm in time")
        return True

    def _hand_on(self) -> bool:
        """Have a page of those who only moved published by whoever has the turn; return whether there was anybody."""
        with self._lock:
            user_ids = self._movements.due(time.monotonic())
        if not user_ids:
            return False
        now = self._clock()
        with self._publishing(user_ids, moved=True):
            recently = self._store.hand_on(user_ids, now - self._interval)
        with self._lock:
            seconds = time.monotonic()
            self._movements.put_off(
                {user_id: seconds - (now - at).total_seconds() for user_id, at in recently.items()}, seconds
            )
        return True

    @contextmanager
    def _publishing(self, user_ids: Collection[int], *, moved: bool) -> Iterator[None]:
        """Publish USER_IDS in a block, again if the database fails; after those who only MOVED comes a rest.

        Whoever moves from here on is published again: the states may have been read before.
        """
        began = time.monotonic()
        with self._lock:
            self._movements.publish(user_ids, began)
        try:
            yield
        except StoreFailed:
            with self._lock:
                self._movements.note(user_ids, began)
            raise
        if moved:
            with self._lock:
                now = time.monotonic()
                self._movements.rest(now, now - began)

    def _due_users(self) -> list[int]:
        with self._lock:
            moved = self._movements.due(time.monotonic())
        if moved or self._all_after is None:
            return moved
        rest = self._store.users_after(self._all_after, _PAGE)
        self._all_after = rest[-1] if rest else None
        return rest


def _confirmed(sent: list[tuple[int, Confirmation]]) -> list[int]:
    """Return the first of SENT, up to one that the broker did not confirm in time."""
    deadline = time.monotonic() + _CONFIRM_S
    done = []
    for number, confirmation in sent:
        if not confirmation.wait(max(0.0, deadline - time.monotonic())):
            break
        done.append(number)
    return done
