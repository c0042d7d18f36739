"""The read API: a company's token reads that company, page by page, and nothing else is there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema_rs
import pytest

from broker.access import Role
from models.schemas import EVENTS, INTERVAL, STATE, TRACK
from tests.integration.web_lab import Lab, lab, token

ROUTES = ("users", "users/alice", "users/alice/track", "users/alice/activity", "events")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Alice has moved and worked, bob lost his connection, carol went silent."""
    with lab(tmp_path_factory.mktemp("web")) as made:
        field = made.field
        field.listen()
        for step in range(10):
            place: dict[str, Any] = {"latitude": 12.97 + step / 1000, "longitude": 77.59, "accuracy": 5}
            field.tell("alice", 100 - step, device="tablet-7", session="s1", seq=step, battery=80, **place)
        field.tell("alice", 80, channel="activity", projectId="p1", taskId="t9")
        field.tell("alice", 70, channel="activity", projectId="p2")
        field.tell("alice", 60, channel="activity", projectId=None)
        field.tell("alice", 45, channel="status", message="On site until five")
        field.tell("bob", 100, device="van", session="s3", seq=1)
        field.tell("bob", 90, type="offline", device="van", session="s3")
        field.tell("carol", 3600, device="phone", session="s4", seq=1)
        yield made


def pages(web: Lab, path: str) -> list[Any]:
    """Return the items of all pages of the list at PATH."""
    items: list[Any] = []
    cursor = ""
    while True:
        page = web.get(path + (f"&cursor={quote(cursor)}" if cursor else "")).json()
        assert set(page) == {"items", "next"}
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = page["next"]


def test_the_roster_tells_the_truth_of_this_moment(web: Lab) -> None:
    answer = web.get("users")
    assert answer.status_code == 200
    states = {state["userId"]: state for state in answer.json()["items"]}
    assert {user: (state["status"], state["reason"]) for user, state in states.items()} == {
        "alice": ("online", None),
        "bob": ("offline", "connection_lost"),
        "carol": ("offline", "stale_session"),
    }
    for state in states.values():
        jsonschema_rs.validate(STATE, state)


@pytest.mark.parametrize(
    "path", ["users?limit=1", "events?limit=1", "events?order=newest&limit=2", "users/alice/activity?limit=1"]
)
def test_pages_together_are_the_whole_list(web: Lab, path: str) -> None:
    whole = web.get(path.replace("limit=1", "limit=1000").replace("limit=2", "limit=1000")).json()["items"]
    found = pages(web, path)
    for item in (*whole, *found):
        item.pop("seconds", None)
    assert len(whole) > 1
    assert found == whole


def test_one_user_is_the_same_as_in_the_roster(web: Lab) -> None:
    assert web.get("users/alice").json() == web.get("users").json()["items"][0]


def test_the_roster_is_sent_again_only_when_it_changed(web: Lab) -> None:
    etag = web.get("users").headers["etag"]
    again = web.get("users", **{"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert web.get("users", **{"If-None-Match": f'"other", {etag}'}).status_code == 304
    assert web.get("users", **{"If-None-Match": '"other"'}).status_code == 200
    assert "authorization" in web.get("users").headers["vary"].lower()


def test_events_are_given_as_they_were_announced(web: Lab) -> None:
    items = web.get("events?user=alice").json()["items"]
    assert [event["type"] for event in items] == [
        "user:online",
        "activity:changed",
        "activity:changed",
        "activity:changed",
        "status:updated",
    ]
    for event in items:
        jsonschema_rs.validate(EVENTS[event["type"]], event)
    assert web.get("events?user=alice&order=newest").json()["items"] == items[::-1]


def test_activity_has_its_times(web: Lab) -> None:
    first, second = web.get("users/alice/activity").json()["items"]
    jsonschema_rs.validate(INTERVAL, first)
    assert (first["projectId"], first["taskId"], first["seconds"]) == ("p1", "t9", 10.0)
    assert (second["projectId"], second["from"]) == ("p2", first["to"])


def test_a_track_is_geojson_in_order(web: Lab) -> None:
    answer = web.get("users/alice/track")
    assert answer.headers["content-type"] == "application/geo+json"
    track = answer.json()
    jsonschema_rs.validate(TRACK, track)
    assert [feature["geometry"]["coordinates"][1] for feature in track["features"]] == [
        12.97 + n / 1000 for n in range(10)
    ]
    assert web.get("users/bob/track").json()["features"] == []


def test_a_track_is_cut_by_time_and_device(web: Lab) -> None:
    times = [feature["properties"]["at"] for feature in web.get("users/alice/track").json()["features"]]
    cut = web.get(f"users/alice/track?from={times[2]}&to={times[5]}").json()["features"]
    assert [feature["properties"]["at"] for feature in cut] == times[2:5]
    assert web.get("users/alice/track?device=phone").json()["features"] == []


@pytest.mark.parametrize("plus", ["+", "%2B", "%20"])
@pytest.mark.parametrize("written", ["T{:%H:%M:%S.%f}", "T{:%H:%M:%S}", "%20{:%H:%M}"])
def test_a_zone_may_be_written_with_its_plus_as_it_is(web: Lab, plus: str, written: str) -> None:
    there = datetime.now(timezone(timedelta(hours=5, minutes=30)))
    soon, long_ago = there + timedelta(minutes=5), there - timedelta(days=1)
    begin, end = (f"{time:%Y-%m-%d}{written.format(time)}{plus}05:30" for time in (long_ago, soon))
    assert len(web.get(f"users/alice/track?from={begin}&to={end}").json()["features"]) == 10
    assert web.get(f"users/alice/track?from={end}").json()["features"] == []


def test_a_track_comes_by_pages_when_a_limit_is_given(web: Lab) -> None:
    found, cursor = [], ""
    while True:
        page = web.get(f"users/alice/track?limit=3{cursor}").json()
        found += page["features"]
        if "next" not in page:
            break
        cursor = f"&cursor={page['next']}"
    assert found == web.get("users/alice/track").json()["features"]


def test_a_straight_way_is_simplified_to_its_ends(web: Lab) -> None:
    ends = web.get("users/alice/track?simplify=5").json()["features"]
    assert [feature["geometry"]["coordinates"][1] for feature in ends] == [12.97, 12.97 + 9 / 1000]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("bearer", ["", "nonsense", "a.b.c", token()[:-2] + "xx"])
def test_without_a_good_token_there_is_nothing_to_see(web: Lab, path: str, bearer: str) -> None:
    answer = web.get(path, bearer)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_a_revoked_token_opens_nothing(web: Lab) -> None:
    bearer = token(token_id="stolen")
    assert web.get("users", bearer).status_code == 200
    web.revoked.add("stolen")
    assert web.get("users", bearer).status_code == 401


@pytest.mark.parametrize("path", ROUTES)
def test_another_company_is_as_if_it_did_not_exist(web: Lab, path: str) -> None:
    theirs = web.get(path, token(company="rival"))
    nobodys = web.get(f"/api/companies/nowhere/{path}")
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content == nobodys.content


@pytest.mark.parametrize("path", ROUTES[1:4])
def test_an_unknown_user_is_not_found(web: Lab, path: str) -> None:
    for user in ("zoe", "a%00b", "a@b", "..%2F", "x" * 65):
        assert web.get(path.replace("alice", user)).status_code == 404


@pytest.mark.parametrize("role", [Role.DEVICE, Role.DASHBOARD])
def test_any_role_of_the_company_may_read(web: Lab, role: Role) -> None:
    assert web.get("users", token(role=role)).status_code == 200


def test_the_service_reads_every_company_that_is_there(web: Lab) -> None:
    service = token("fieldbeat", "fieldbeat", Role.SERVICE)
    assert web.get("users", service).status_code == 200
    assert web.get("/api/companies/nowhere/users", service).status_code == 404


def test_a_company_nobody_of_which_was_heard_is_empty(web: Lab) -> None:
    answer = web.get("/api/companies/new/users", token("new"))
    assert answer.json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    "path",
    [
        *(
            f"{route}?limit={limit}"
            for route in ("users", "events", "users/alice/activity", "users/alice/track")
            for limit in (0, 1001)
        ),
        "users?cursor=@@@",
        "users?cursor=MTI",
        "users?cursor=Ilx1MDAwMCI",
        "users?cursor=ImFsaWNlXG4i",
        "events?cursor=bm8",
        "events?user=a@b",
        "events?order=sideways",
        "users/alice/track?cursor=WzFd",
        "users/alice/track?from=yesterday",
        "users/alice/track?from=2026-11-22T10:00:00",
        "users/alice/track?from=2026",
        "users/alice/track?from=2026-11-22 10:00",
        "users/alice/activity?to=1763800000.5",
        "users/alice/track?from=0001-01-01T00:00:00%2B14:00",
        "users/alice/track?from=2026-11-22T10:00:00Z&to=2026-11-22T10:00:00Z",
        "users/alice/track?simplify=-1",
        "users/alice/track?simplify=nan",
    ],
)
def test_what_cannot_be_meant_is_refused(web: Lab, path: str) -> None:
    assert web.get(path).status_code == 422


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/companies/acme/users", "/nowhere"])
def test_every_answer_carries_the_policy(web: Lab, path: str) -> None:
    headers = web.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["connect-src"] == "'self' ws: wss:"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


@pytest.mark.parametrize("path", [*ROUTES, "/", "/healthz", "/readyz", "/metrics", "/config.json", "/style.css"])
def test_to_ask_for_the_head_alone_gives_what_get_would_without_its_body(web: Lab, path: str) -> None:
    url = path if path.startswith("/") else f"/api/companies/acme/{path}"
    got, head = web.get(path), web.client.head(url, headers={"Authorization": f"Bearer {token()}"})
    assert (head.status_code, head.content) == (got.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert "content-security-policy" in head.headers
    if path.startswith("users"):
        assert web.client.head(url).status_code == 401


def test_nothing_can_be_written(web: Lab) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer: httpx.Response = web.client.request(
            method, "/api/companies/acme/users", headers={"Authorization": f"Bearer {token()}"}
        )
        assert answer.status_code == 405
