"""An ingest that shall not come back is retired: what the broker kept for it is stored, and its session ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from broker.access import Role
from tests.acceptance.field import new_field, until
from tests.acceptance.persistent import Message
from tests.acceptance.production import Site, caught_up, site
from tests.integration.plugged import token
from tests.integration.raw_mqtt import RawClient, connect

_SINGLE = "fieldbeat:ingest"
_PATIENCE_S = 30.0


def _heartbeats(first: int, count: int) -> list[Message]:
    return [
        ("presence", json.dumps({"latitude": number / 1000, "longitude": 2.5}).encode())
        for number in range(first, first + count)
    ]


def _positions(place: Site) -> list[int]:
    return sorted(round(latitude * 1000) for latitude, _ in place.track("alice"))


def _keeps_session(place: Site, client_id: str) -> bool:
    """Whether the broker had a session of CLIENT_ID; there is none afterwards."""
    with RawClient(place.field.port) as client:
        service = token("fieldbeat", Role.SERVICE, "fieldbeat")
        client.send(connect(client_id, "fieldbeat", service, clean=False))
        answer = client.answer()
    with RawClient(place.field.port) as client:
        client.send(connect(client_id, "fieldbeat", service))
        assert client.answer() is not None
    assert answer is not None
    return bool(answer.body[0])


def test_the_single_ingest_is_retired_once_the_workers_have_taken_its_place(tmp_path: Path) -> None:
    with site(tmp_path) as place:
        place.start_ingest()
        place.send("alice", _heartbeats(0, 10))
        caught_up(place, lambda: [("company/acme/presence/alice", said) for _, said in _heartbeats(0, 10)])
        place.field.stop("ingest", signal.SIGKILL)
        place.send("alice", _heartbeats(10, 500))
        alone = place.field.run("ingest", "--retire", _SINGLE)
        assert (alone.returncode, alone.stdout) == (1, "")
        assert (
            alone.stderr
            == "fieldbeat: no other ingest listens, so what comes next would be lost: start the one that stays, first\n"
        )

        place.start_ingest("--workers", "2", name="workers", processes=2)
        place.send("alice", _heartbeats(510, 10))
        done = place.field.run("ingest", "--retire", _SINGLE)
        assert (done.returncode, done.stdout) == (0, f"{_SINGLE}: 510 messages stored, session ended\n"), done.stderr
        place.send("alice", _heartbeats(520, 10))
        until(lambda: len(_positions(place)) == 530, "everything is stored", _PATIENCE_S)
        assert _positions(place) == list(range(530))
        assert not _keeps_session(place, _SINGLE)

        again = place.field.run("ingest", "--retire", _SINGLE)
        assert again.returncode == 1
        assert again.stderr.splitlines()[-1] == f"fieldbeat: the broker keeps no session of {_SINGLE}"
        assert not _keeps_session(place, _SINGLE)
        assert place.field.stop("workers") == 0


@pytest.mark.parametrize(
    "words", [("acme:alice",), ("fieldbeat:page",), ("fieldbeat:ingest2",), (_SINGLE, "--workers", "2")]
)
def test_what_cannot_be_retired_is_refused_before_anything_is_done(tmp_path: Path, words: tuple[str, ...]) -> None:
    with new_field(tmp_path) as field:
        done = field.run("ingest", "--retire", *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--retire" in done.stderr
    assert list(tmp_path.iterdir()) == []
