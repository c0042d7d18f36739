"""`fieldbeat web` alone: the page and the read API beside a broker and an ingest that run elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.field import Field, new_field, until
from tests.servers import free_port


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    with new_field(tmp_path) as made:
        made.start("up")
        beside = free_port()
        made.settings["FIELDBEAT_HTTP_PORT"] = str(beside)
        made.start("web")
        yield made


def test_it_reads_what_another_process_stores(field: Field) -> None:
    field.publish("alice", {"session": "a1", "seq": 1, "latitude": 12.97, "longitude": 77.59})
    root = f"http://127.0.0.1:{field.settings['FIELDBEAT_HTTP_PORT']}"
    headers = {"Authorization": f"Bearer {field.token('acme', 'alice')}"}
    answer = httpx.get(f"{root}/api/companies/acme/users", headers=headers)
    assert [(state["userId"], state["status"]) for state in answer.json()["items"]] == [("alice", "online")]
    assert httpx.get(root).status_code == 200
    until(lambda: httpx.get(f"{root}/readyz").status_code == 200, "broker and database answer")
    assert field.run("token", "revoke", "--company", "acme", "--user", "alice").returncode == 0
    until(
        lambda: httpx.get(f"{root}/api/companies/acme/users", headers=headers).status_code == 401,
        "the token is revoked",
    )
    field.stop("up")
    until(lambda: httpx.get(f"{root}/readyz").status_code == 503, "the broker's end is noticed")
    assert httpx.get(f"{root}/readyz").json()["database"] == "ok"
    assert httpx.get(f"{root}/healthz").status_code == 200
    assert field.stop("web", signal.SIGTERM) == 0


def test_a_port_that_is_taken_stops_it_in_one_line(field: Field) -> None:
    done = field.run("web")
    assert done.returncode == 2
    assert "FIELDBEAT_HTTP_PORT" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("taken", ["FIELDBEAT_HTTP_PORT", "FIELDBEAT_EMBEDDED_PORT", "FIELDBEAT_EMBEDDED_WS_PORT"])
def test_up_names_the_setting_of_a_port_that_is_taken_and_announces_nothing(field: Field, taken: str) -> None:
    ports = ("FIELDBEAT_HTTP_PORT", "FIELDBEAT_EMBEDDED_PORT", "FIELDBEAT_EMBEDDED_WS_PORT")
    field.settings |= {name: str(free_port()) for name in ports if name != taken}
    done = field.run("up")
    assert (done.returncode, done.stdout) == (2, "")
    assert taken in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_ingest_of_its_own_tells_its_own_metrics(field: Field) -> None:
    field.settings["FIELDBEAT_METRICS_PORT"] = str(free_port())
    field.start("ingest")
    root = f"http://127.0.0.1:{field.settings['FIELDBEAT_METRICS_PORT']}"
    until(lambda: httpx.get(f"{root}/readyz").status_code == 200, "broker and database answer")
    field.publish("alice", {"session": "a1", "seq": 1})
    until(lambda: "fieldbeat_messages_received_total 0.0" not in httpx.get(f"{root}/metrics").text, "it is counted")
    assert "fieldbeat_people" not in httpx.get(f"{root}/metrics").text
    assert field.stop("ingest") == 0
