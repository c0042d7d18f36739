"""Health, metrics and what is said without a token; dashboard and alerts name only metrics that there are."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.core.result import Ok

from models.errors import Refusal, StoreFailed
from tests.integration.web_lab import Lab, lab, token
from web.app import create_instruments
from web.parts import PageSettings
from web.requests import security_headers
from web.server import Server, bind

DEPLOY = Path(__file__).parents[2] / "deploy"
_OURS = re.compile(r"\bfieldbeat_[a-z_]+")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Lab]:
    with lab(
        tmp_path, page=PageSettings(None, 9001, "https://{s}.tiles.example/{z}/{x}/{y}.png", tile_attribution="© tiles")
    ) as made:
        made.field.listen()
        made.field.tell("alice", 100, device="tablet-7", session="s1", seq=1, latitude=12.97, longitude=77.59)
        made.field.tell("bob", 90, session="s2", seq=1, status="away")
        yield made


def samples(web: Lab) -> dict[tuple[str, str], float]:
    """Return the value of every sample by its name and its first label."""
    families = text_string_to_metric_families(web.get("/metrics").text)
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_living_process_says_so_whatever_else_is_broken(web: Lab) -> None:
    web.trouble = "no answer"
    assert web.get("/healthz", "").json() == {"status": "ok"}


def test_ready_means_that_broker_and_database_answer(web: Lab) -> None:
    assert web.get("/readyz", "").status_code == 200
    web.trouble = "the embedded broker does not run"
    answer = web.get("/readyz", "")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert answer.json()["broker"] == "the embedded broker does not run"
    assert answer.json()["database"] == "ok"


def test_a_database_out_of_reach_is_said_everywhere(web: Lab) -> None:
    path = web.field.place / ".fieldbeat" / "fieldbeat.db"
    web.field.engine.dispose()
    for file in path.parent.glob("fieldbeat.db*"):
        file.unlink()
    path.mkdir()
    answer = web.get("/readyz", "")
    assert (answer.status_code, answer.json()["broker"]) == (503, "ok")
    assert "database" in answer.json()["database"]
    assert web.get("users").status_code == 503
    assert web.get("users").headers["retry-after"]
    assert samples(web)["fieldbeat_database_up", ""] == 0
    assert StoreFailed.__name__ not in web.get("users").text


def test_metrics_tell_of_pipe_broker_and_database(web: Lab) -> None:
    web.metrics.count("received", 7)
    web.metrics.count("late", 2)
    web.metrics.observe("lag_s", [0.02] * 7)
    web.metrics.observe("batch_size", [7])
    web.metrics.watch("queue", lambda: 12)
    found = samples(web)
    assert found["fieldbeat_messages_received_total", ""] == 7
    assert found["fieldbeat_messages_late_total", ""] == 2
    assert found["fieldbeat_lag_seconds_bucket", "0.01"] == 0
    assert found["fieldbeat_lag_seconds_bucket", "0.025"] == 7
    assert found["fieldbeat_lag_seconds_count", ""] == 7
    assert found["fieldbeat_batch_messages_bucket", "5"] == 0
    assert found["fieldbeat_batch_messages_bucket", "10"] == 1
    assert found["fieldbeat_queue_messages", ""] == 12
    assert found["fieldbeat_broker_connections_open", ""] == 3
    assert found["fieldbeat_broker_dropped_total", "too_large"] == 2
    assert found["fieldbeat_people", "online"] == 1
    assert found["fieldbeat_people", "away"] == 1
    assert found["fieldbeat_leases", "held"] == 2
    assert found["fieldbeat_outbox_events", ""] == 2
    assert found["fieldbeat_outbox_age_seconds", ""] > 80
    assert found["fieldbeat_info", "1.2.3"] == 1


def test_refusals_are_counted_by_class_and_every_class_is_there_from_the_start(web: Lab) -> None:
    web.metrics.count("rejected", 2, Refusal.NOT_JSON)
    found = samples(web)
    by_class = {label: value for (name, label), value in found.items() if name == "fieldbeat_messages_rejected_total"}
    assert by_class == {str(refusal): 2.0 * (refusal is Refusal.NOT_JSON) for refusal in Refusal}


def test_a_database_that_only_reads_is_not_ready_where_the_ingest_runs(web: Lab) -> None:
    web.metrics.gauge("store_failing", 1)
    answer = web.get("/readyz", "")
    assert (answer.status_code, answer.json()["database"]) == (503, "the database cannot be written")


def test_a_process_without_a_page_tells_of_itself_alone(web: Lab) -> None:
    server = Server(create_instruments(web.parts), bind("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, name="instruments under test")
    thread.start()
    try:
        with httpx.Client(base_url=server.url) as client:
            text = client.get("/metrics").text
            assert "fieldbeat_messages_received_total" in text
            assert "fieldbeat_people" not in text
            assert client.get("/readyz").status_code == 200
            assert client.get("/").status_code == client.get("/api/companies/acme/users").status_code == 404
    finally:
        server.stop()
        thread.join(10)


def test_requests_are_counted_by_route_and_never_by_path(web: Lab) -> None:
    web.get("users/alice")
    web.get("users/nobody")
    web.get("/wp-login.php")
    text = web.get("/metrics").text
    assert (
        'fieldbeat_http_request_seconds_count{route="/api/companies/{company}/users/{user}",status="200"} 1.0' in text
    )
    assert 'route="/api/companies/{company}/users/{user}",status="404"' in text
    assert "nobody" not in text
    assert "wp-login" not in text


def test_metrics_name_no_company(web: Lab) -> None:
    web.get("users")
    assert "acme" not in web.get("/metrics", "").text


def expressions(part: Any) -> Iterator[str]:  # noqa: ANN401 any part of a rule or dashboard
    match part:
        case dict():
            for key, value in part.items():
                if key == "expr":
                    yield value
                yield from expressions(value)
        case list():
            for each in part:
                yield from expressions(each)


@pytest.mark.parametrize("file", ["prometheus/alerts.yml", "grafana/fieldbeat.json"])
def test_dashboard_and_alerts_ask_for_metrics_that_there_are(web: Lab, file: str) -> None:
    text = (DEPLOY / file).read_text("utf-8")
    read = json.loads(text) if file.endswith("json") else yaml.safe_load(text)
    asked = {name for one in expressions(read) for name in _OURS.findall(one)}
    assert asked
    web.get("users")
    there = {name for name, _ in samples(web)}
    assert asked - there == set()


def test_the_page_is_told_where_the_broker_is(web: Lab) -> None:
    told = web.get("/config.json", "").json()
    assert (told["websocketUrl"], told["websocketPort"]) == (None, 9001)
    tiles = {"url": "https://{s}.tiles.example/{z}/{x}/{y}.png", "archive": False, "attribution": "© tiles"}
    assert told["tiles"] == tiles
    assert "img-src 'self' data: https://*.tiles.example;" in web.get("/").headers["content-security-policy"]
    assert web.get("/tiles.pmtiles").status_code == 404
    assert web.client.post("/demo-token").status_code == 404


def test_a_tile_file_is_served_by_ranges(tmp_path: Path) -> None:
    (tmp_path / "town.pmtiles").write_bytes(b"PMTiles\3" + bytes(100))
    with lab(tmp_path, page=PageSettings(tile_file=tmp_path / "town.pmtiles")) as web:
        assert web.get("/config.json", "").json()["tiles"]["url"] == "tiles.pmtiles"
        part = web.get("/tiles.pmtiles", "", Range="bytes=0-7")
        assert (part.status_code, part.content) == (206, b"PMTiles\3")
        assert part.headers["content-range"] == "bytes 0-7/108"
        assert "connect-src 'self' ws: wss:;" in part.headers["content-security-policy"]


def test_a_tile_file_of_somewhere_else_may_be_fetched_from_there_alone() -> None:
    policy = security_headers("https://maps.example:8443/town.pmtiles")["Content-Security-Policy"]
    assert "connect-src 'self' ws: wss: https://maps.example:8443;" in policy
    assert "img-src 'self' data:;" in policy


def test_the_policy_names_no_tiles_where_there_are_none() -> None:
    assert "img-src 'self' data:;" in security_headers(None)["Content-Security-Policy"]


def test_no_request_that_can_be_thought_up_makes_the_server_fail(web: Lab) -> None:
    root = str(web.client.base_url).rstrip("/")
    schema = schemathesis.openapi.from_url(f"{root}/api/openapi.json")
    headers = {"Authorization": f"Bearer {token()}"}
    asked = 0
    for operation in schema.get_all_operations():
        assert isinstance(operation, Ok)
        described = operation.ok()
        allowed = cases(described, schemathesis.GenerationMode.POSITIVE)
        wrong = cases(described, schemathesis.GenerationMode.NEGATIVE) if described.path.startswith("/api") else []
        for case in (*allowed, *wrong):
            if "company" in case.path_parameters:
                case.path_parameters["company"] = "acme"
            if "user" in case.path_parameters and asked % 2:
                case.path_parameters["user"] = "alice"
            answer = case.call(base_url=root, headers=headers)
            assert answer.status_code < 500 or described.path == "/readyz", (answer.status_code, answer.text)
            asked += 1
    assert asked > 100


def cases(operation: Any, mode: schemathesis.GenerationMode) -> list[Any]:  # noqa: ANN401 schemathesis's own types
    """Return some requests to OPERATION: such as it allows, or such as it does not."""
    made: list[Any] = []

    @settings(
        max_examples=25,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:  # noqa: ANN401 schemathesis's own types
        made.append(case)

    collect()
    return made
