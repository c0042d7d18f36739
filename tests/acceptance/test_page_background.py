"""What lies below the people on the live map, and the fleet that is shown to whoever just tries it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.browsing import Visit, chromium
from tests.acceptance.field import Field, new_field
from tests.acceptance.pmtiles import TileType, earth, picture, pmtiles
from tests.servers import free_port

_MIDDLE_OF_A_TILE = """() => {
  for (const canvas of document.querySelectorAll('.leaflet-tile-pane .leaflet-tile-loaded')) {
    const [red, green, blue, alpha] = canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data;
    if (alpha === 255) return [red, green, blue];
  }
  return null;
}"""
_WHERE_PEOPLE_ARE = """() => {
  const canvas = document.querySelector('.leaflet-marker-pane canvas');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return data.reduce((sum, value, place) => (value ? (sum * 31 + place) % 1e9 : sum), 7);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    with new_field(tmp_path_factory.mktemp("background"), state_interval="0.5") as made:
        made.start("up", "--simulate", "25")
        yield made


@pytest.mark.parametrize(
    ("kind", "tile", "shown"),
    [(TileType.PNG, picture(200, 30, 120), [200, 30, 120]), (TileType.VECTOR, earth(), None)],
    ids=["pictures", "shapes"],
)
def test_a_tile_of_a_pmtiles_file_is_drawn(
    field: Field, browser: Browser, tmp_path: Path, kind: TileType, tile: bytes, shown: list[int] | None
) -> None:
    (tmp_path / "world.pmtiles").write_bytes(pmtiles(tile, kind))
    before = dict(field.settings)
    try:
        field.settings |= {
            "FIELDBEAT_HTTP_PORT": str(free_port()),
            "FIELDBEAT_TILE_URL": str(tmp_path / "world.pmtiles"),
            "FIELDBEAT_TILE_ATTRIBUTION": "© <b>nobody</b>",
            "FIELDBEAT_WS_URL": f"ws://127.0.0.1:{before['FIELDBEAT_EMBEDDED_WS_PORT']}/mqtt",
        }
        field.start("web")
        visit = Visit(field, browser)
        visit.sign_in()
        drawn = visit.page.wait_for_function(_MIDDLE_OF_A_TILE).json_value()
        assert shown is None or drawn == shown
        expect(visit.page.locator(".leaflet-control-attribution")).to_have_text("© <b>nobody</b>")
        assert visit.policy_broken == []
        visit.context.close()
        field.stop("web")
    finally:
        field.settings = before


def test_whoever_tries_it_sees_the_simulated_fleet_move(field: Field, browser: Browser) -> None:
    visit = Visit(field, browser)
    visit.page.get_by_role("button", name="Show the simulated fleet").click()
    visit.see_live()
    expect(visit.page.locator("#roster-count")).to_have_text("20 people", timeout=15_000)  # some have two devices
    first = visit.page.evaluate(_WHERE_PEOPLE_ARE)
    visit.page.wait_for_function(f"() => ({_WHERE_PEOPLE_ARE})() !== {first}")
    assert "." not in visit.page.url.rpartition("/")[2]
    visit.context.close()


def test_without_a_simulated_fleet_none_is_offered(field: Field, browser: Browser) -> None:
    visit = Visit(field, browser)
    visit.page.route("**/config.json", lambda route: route.fulfill(json=route.fetch().json() | {"demo": False}))
    visit.page.reload()
    expect(visit.page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(visit.page.get_by_role("button", name="Show the simulated fleet")).to_be_hidden()
    visit.context.close()
