"""The live map as a dispatcher uses it: the real command, and Chromium."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.browsing import WEB, Visit, chromium
from tests.acceptance.field import Field, new_field, until
from tests.servers import absent

XSS = "<img src=x onerror=document.title='owned'>"
HERE = {"latitude": 12.9716, "longitude": 77.5946, "accuracy": 5}
SOON_MS = 1000


_RECORD_WHAT_IS_WRITTEN = """
  globalThis.written = new Map();
  const { fillText } = CanvasRenderingContext2D.prototype;
  CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
    const place = this.canvas.getBoundingClientRect();
    const up = this.textBaseline === "top" ? 0 : 11;
    written.set(text, [place.x + x, place.y + y - up, place.x + x + this.measureText(text).width, place.y + y - up + 11]);
    return fillText.call(this, text, x, y);
  };
"""
_WRITTEN_UNDER_BUTTONS = """() => {
  const buttons = [...document.querySelectorAll(".fit, .legend, .leaflet-control-zoom")].map((node) => node.getBoundingClientRect());
  const under = ([left, top, right, bottom]) =>
    buttons.some((box) => left < box.right && box.left < right && top < box.bottom && box.top < bottom);
  return [...written].filter(([text, place]) => text.includes("°") && under(place));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    quick = {"offline_grace": "0.2", "state_interval": "0.5", "sweep_interval": "0.2", "stale_after": "4"}
    with new_field(tmp_path_factory.mktemp("page"), **quick) as made:
        made.start("up")
        yield made


@pytest.fixture
def visit(field: Field, browser: Browser) -> Iterator[Visit]:
    made = Visit(field, browser)
    yield made
    made.context.close()


def test_people_appear_from_retained_messages_alone(field: Field, visit: Visit) -> None:
    assert field.publish("alice", {"session": "a1", "seq": 1, "battery": 80, "device": "tablet-7", **HERE}) == 0
    until(lambda: "alice" in field.who(), "alice is known")
    visit.sign_in()
    expect(visit.row("alice")).to_contain_text("alice")
    expect(visit.page.locator("#roster-count")).to_contain_text("people")
    drawn = visit.page.wait_for_function(
        "() => { const c = document.querySelector('#map canvas[aria-hidden]'); const d = c.getContext('2d');"
        " return d.getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); }"
    )
    assert drawn


def test_a_device_starts_works_goes_and_comes_back_before_our_eyes(field: Field, visit: Visit) -> None:
    visit.sign_in()
    field.publish("bob", {"session": "b1", "seq": 1, "device": "van", "battery": 12, **HERE})
    expect(visit.row("bob")).to_contain_text("online", timeout=SOON_MS)
    expect(visit.row("bob")).to_contain_text("12 %")
    field.publish("bob", {"projectId": "p1", "taskId": "t9"}, "activity")
    expect(visit.row("bob")).to_contain_text("p1 / t9", timeout=SOON_MS)
    visit.row("bob").click()
    panel = visit.page.locator("#person")
    expect(panel).to_contain_text("12.97160, 77.59460 ± 5 m")
    field.publish("bob", {"session": "b1", "seq": 2, "device": "van", "latitude": 12.98, "longitude": 77.6})
    expect(panel).to_contain_text("12.98000, 77.60000", timeout=SOON_MS)
    field.publish("bob", {"type": "offline", "session": "b1", "device": "van"})
    expect(visit.row("bob")).to_contain_text("connection lost", timeout=SOON_MS)
    expect(panel).to_contain_text("Connection lost", ignore_case=True)
    field.publish("bob", {"session": "b2", "seq": 1, "device": "van"})
    expect(visit.row("bob")).to_contain_text("online", timeout=SOON_MS)
    expect(panel.locator(".events")).to_contain_text("went offline: connection lost")
    expect(visit.page.locator("#feed-list")).to_contain_text("came online with van")
    assert visit.policy_broken == []


def test_who_goes_silent_stands_first_with_the_reason(field: Field, visit: Visit) -> None:
    visit.sign_in()
    field.publish("carol", {"session": "c1", "seq": 1, **HERE})
    expect(visit.row("carol")).to_contain_text("online", timeout=SOON_MS)
    expect(visit.row("carol")).to_contain_text("gone silent", timeout=10_000)
    first = visit.page.locator("#roster [data-place='0']")
    expect(first).to_contain_text("gone silent")


def test_what_devices_say_is_shown_as_text(field: Field, visit: Visit) -> None:
    visit.sign_in()
    field.publish("eve", {"session": "e1", "seq": 1, **HERE})
    field.publish("eve", {"projectId": XSS}, "activity")
    field.publish("eve", {"message": XSS}, "status")
    expect(visit.row("eve")).to_contain_text(XSS, timeout=SOON_MS)
    visit.row("eve").click()
    expect(visit.page.locator("#person")).to_contain_text(XSS)
    expect(visit.page.locator("#feed-list")).to_contain_text(XSS)
    assert visit.page.locator("img[src='x']").count() == 0
    assert visit.page.title() == "Fieldbeat"
    assert visit.policy_broken == []


def test_the_roster_is_searched_filtered_and_sorted_by_keyboard(field: Field, visit: Visit) -> None:
    for user in ("zoe", "yan"):
        field.publish(user, {"session": "s1", "seq": 1, "status": "away" if user == "yan" else "online"})
    visit.sign_in()
    expect(visit.row("yan")).to_contain_text("away")
    visit.page.keyboard.press("/")
    visit.page.keyboard.type("zo")
    expect(visit.page.locator("#roster [role=option]")).to_have_count(1)
    visit.page.get_by_label("Search people").fill("")
    visit.page.get_by_label("Sort by").select_option("name")
    roster = visit.page.get_by_role("listbox")
    roster.press("End")
    expect(roster).to_have_attribute("aria-activedescendant", "person-zoe")
    roster.press("Enter")
    expect(visit.page.locator("#person-name")).to_have_text("zoe")
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator("#person")).to_be_hidden()
    visit.page.get_by_role("button", name=re.compile("Away")).click()
    expect(visit.row("zoe")).to_have_count(0)


def test_on_a_small_phone_status_texts_are_whole(field: Field, visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 360, "height": 740})
    field.publish("vic", {"session": "s1", "seq": 1})
    field.publish("vic", {"projectId": "meters-2026", "taskId": "swap"}, "activity")
    field.publish("vic", {"message": "Call me, I am running late"}, "status")
    field.publish("vic", {"type": "offline", "session": "s1"})
    visit.sign_in()
    said = visit.row("vic").locator(".what")
    expect(said).to_contain_text("running late")
    expect(visit.row("vic")).to_contain_text("connection lost")
    assert said.evaluate(
        "({scrollWidth, clientWidth, scrollHeight, clientHeight}) => [scrollWidth - clientWidth, scrollHeight - clientHeight]"
    ) == [0, 0]


@pytest.mark.parametrize("width", [360, 390, 1300])
def test_no_degrees_are_written_under_the_buttons_of_the_map(field: Field, visit: Visit, width: int) -> None:
    field.publish("uma", {"session": "s1", "seq": 1, "latitude": 12.97, "longitude": 77.59})
    visit.page.set_viewport_size({"width": width, "height": 740})
    visit.page.add_init_script(_RECORD_WHAT_IS_WRITTEN)
    visit.page.reload()
    visit.sign_in()
    for _ in range(5):
        visit.page.evaluate("written.clear()")
        visit.page.locator("#map").press("ArrowRight")
        visit.page.wait_for_function("() => [...written.keys()].some((text) => text.endsWith('° E'))")
        assert visit.page.evaluate(_WRITTEN_UNDER_BUTTONS) == []


def test_the_token_stays_in_memory(field: Field, visit: Visit) -> None:
    requested: list[str] = []
    visit.page.on("request", lambda request: requested.append(request.url))
    visit.sign_in()
    token = field.token("acme", "dispatcher", "dashboard")
    stored = visit.page.evaluate(
        "() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    )
    assert token not in stored
    assert not [url for url in requested if token in url]
    assert token not in (field.home / "up.log").read_text("utf-8")
    assert not [text for text in visit.said if token in text]
    assert visit.page.locator("#token").input_value() == ""
    visit.page.get_by_role("button", name="Sign out").click()
    expect(visit.page.get_by_label("Token")).to_be_visible()


def test_a_token_that_is_none_is_refused_in_words(visit: Visit) -> None:
    trouble = visit.page.locator("#sign-in-trouble")
    visit.page.get_by_label("Token").fill("nonsense")
    visit.page.get_by_role("button", name="Sign in").click()
    expect(trouble).to_have_text("This is no token.")
    forged = visit.field.token("acme", "dispatcher", "dashboard")[:-4] + "AAAA"
    visit.page.get_by_label("Token").fill(forged)
    visit.page.get_by_role("button", name="Sign in").click()
    expect(trouble).to_have_text("The broker refuses this token.", timeout=30_000)


def test_without_its_libraries_the_page_says_what_to_do(field: Field, browser: Browser) -> None:
    with browser.new_context() as context:
        context.route("**/vendor/**", lambda route: route.abort())
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{field.settings['FIELDBEAT_HTTP_PORT']}/")
        expect(page.get_by_role("alert")).to_contain_text("make web")
        expect(page.locator("#sign-in")).not_to_be_visible()


def test_axe_finds_no_serious_fault(field: Field, browser: Browser) -> None:
    axe = WEB / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.exists():
        absent("axe-core (make web)")
    for scheme, width in (("light", 1300), ("dark", 390)):
        # The page's policy would keep the checker out as well.
        visit = Visit(field, browser, color_scheme=scheme, bypass_csp=True)
        visit.page.set_viewport_size({"width": width, "height": 844})
        assert _faults(visit.page, axe) == []
        visit.sign_in()
        visit.row("alice").click()
        expect(visit.page.locator("#person .devices")).to_contain_text("tablet-7")
        assert _faults(visit.page, axe) == []
        visit.context.close()


def _faults(page: Page, axe: Path) -> list[str]:
    page.add_script_tag(path=axe)
    found = page.evaluate("() => axe.run()")
    faults = [fault for fault in found["violations"] if fault["impact"] in ("serious", "critical")]
    return [json.dumps([fault["id"], [node["html"] for node in fault["nodes"]]]) for fault in faults]


def test_a_broker_that_hangs_is_noticed_though_the_connection_stands(field: Field, visit: Visit) -> None:
    visit.sign_in()
    banner = visit.page.locator("#banner")
    field.running["up"].send_signal(signal.SIGSTOP)
    try:
        expect(banner).to_contain_text("The broker does not answer", timeout=25_000)
        expect(banner).to_contain_text(re.compile(r"What you see is 1\d s old"))
    finally:
        field.running["up"].send_signal(signal.SIGCONT)
    expect(banner).to_be_hidden(timeout=10_000)


def test_the_page_says_that_the_service_is_gone_and_recovers_by_itself(field: Field, visit: Visit) -> None:
    visit.sign_in()
    banner = visit.page.locator("#banner")
    expect(banner).to_be_hidden()
    field.stop("up", signal.SIGKILL)
    expect(banner).to_contain_text("No connection to the broker", timeout=SOON_MS)
    expect(banner).to_contain_text(re.compile(r"What you see is [2-9] s old"), timeout=10_000)
    expect(visit.page.locator("#link-text")).to_have_text("not live")
    field.start("up")
    field.publish("frank", {"session": "f1", "seq": 1, **HERE})
    # Whoever was killed holds the turn to announce for some seconds more.
    expect(visit.row("frank")).to_be_visible(timeout=20_000)
    expect(banner).to_be_hidden()
    expect(visit.page.locator("#link-text")).to_have_text("live")
