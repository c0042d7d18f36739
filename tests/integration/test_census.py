"""What the instruments count: leases by the state that the rules of presence give them."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from models import people, queries, standing
from models.census import LeaseState, leases_by_state
from models.facts import Reason
from models.standing import Terms
from tests.integration.store_lab import SESSIONS, TERMS, at, beat, listening_store, offline

S0, S1 = SESSIONS[:2]
_ENDED = {
    Reason.SIGNED_OFF: LeaseState.LEFT,
    Reason.CONNECTION_LOST: LeaseState.LOST,
    Reason.STALE_SESSION: LeaseState.SILENT,
    Reason.TOKEN_REVOKED: LeaseState.REVOKED,
}


@pytest.fixture
def company(engine: Engine) -> Engine:
    """Everybody was heard at first; bob's will came at 100 s, carol signed off, dave was revoked, erin and frank are heard again."""
    store = listening_store(engine)
    for user in ("alice", "bob", "carol", "dave", "erin", "frank"):
        store.write([beat(at(10), user, device="van", session=S0, seq=1)], at(10))
    store.write([offline(at(100), "bob", device="van", session=S0)], at(100))
    store.write([offline(at(100), "carol", device="van", session=S0, reason="signed_off")], at(100))
    store.revoke_user("acme", "dave", at(100))
    store.write([beat(at(700), "erin", device="van", session=S0, seq=2)], at(700))
    store.write([beat(at(700), "frank", device="van", session=S1, seq=1)], at(700))
    return engine


@pytest.mark.parametrize("seconds", [105, 130, 905, 1000, 1700])
def test_the_counts_are_those_of_the_rules(company: Engine, seconds: float) -> None:
    now = at(seconds)
    counted = counts(company, now, TERMS)
    assert counted == {state: by_rule(company, now, TERMS)[state] for state in LeaseState}
    assert sum(counted.values()) == 6


def test_silence_does_not_count_while_nobody_listened(company: Engine) -> None:
    deaf = Terms(TERMS.stale_after, TERMS.offline_grace, at(1690))
    counted = counts(company, at(1700), deaf)
    assert counted[LeaseState.SILENT] == 0
    assert counted[LeaseState.HELD] == 3


def counts(engine: Engine, now: datetime, terms: Terms) -> dict[LeaseState, int]:
    with engine.connect() as connection:
        return leases_by_state(connection, now, terms)


def by_rule(engine: Engine, now: datetime, terms: Terms) -> Counter[LeaseState]:
    """Return what `models.presence` says of each device's newest session."""
    with engine.connect() as connection:
        members = people.numbered(connection, queries.all_users(connection, 0, 100))
    found: Counter[LeaseState] = Counter()
    for member in members:
        for session in member.person.sessions.values():
            lease = standing.lease(session, terms)
            assert lease is not None
            if lease.end <= now:
                found[_ENDED[lease.reason]] += 1
            else:
                found[LeaseState.HELD if session.lost is None else LeaseState.GRACE] += 1
    return found


def test_the_grace_is_told_apart(engine: Engine) -> None:
    store = listening_store(engine)
    store.write([beat(at(10), device="van", session=S0, seq=1)], at(10))
    store.write([offline(at(20), device="van", session=S0)], at(20))
    assert counts(engine, at(20) + TERMS.offline_grace / 2, TERMS)[LeaseState.GRACE] == 1
    assert counts(engine, at(20) + TERMS.offline_grace + timedelta(seconds=1), TERMS)[LeaseState.LOST] == 1
