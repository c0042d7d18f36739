"""Every message of the case table through the store, on both databases: what one of them could not store, the other must not either."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Engine

from broker.link import Delivery
from ingest.decode import Decoded, Ignored, Rejected, decode
from models.facts import Ended, Heard
from tests.integration.store_lab import T0, dump, listening_store, roster
from tests.samples import RECEIVED, SAMPLES


def test_one_batch_of_every_sample_is_stored_or_refused_and_nothing_is_lost(engine: Engine) -> None:
    outcomes = [decode(Delivery(one.topic, one.payload, RECEIVED, lambda: None, one.retained)) for one in SAMPLES]
    kinds = Counter(type(outcome) for outcome in outcomes)
    written = listening_store(engine).write(outcomes, RECEIVED)
    tables = dump(engine)
    assert (written.rejected, written.ignored) == (kinds[Rejected], kinds[Ignored])
    assert len(tables["rejected"]) == kinds[Rejected]
    presences = {
        (outcome.signal.device, outcome.signal.session, outcome.message)
        for outcome in outcomes
        if isinstance(outcome, Decoded) and isinstance(outcome.signal, Heard | Ended)
    }
    assert 0 < len(tables["history"]) <= len(presences)
    assert len(roster(engine, T0)["alice"]["devices"]) > 1


def test_each_sample_alone_can_be_stored(engine: Engine) -> None:
    store = listening_store(engine)
    for one in SAMPLES:
        outcome = decode(Delivery(one.topic, one.payload, RECEIVED, lambda: None, one.retained))
        written = store.write([outcome], RECEIVED)
        assert written.rejected == isinstance(outcome, Rejected), one.name
