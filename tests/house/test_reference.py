"""The generated reference is fresh."""

from __future__ import annotations

import pytest

from cli.settings import Settings
from tests.house.reference import FOLDER, PAGES, PURPOSES
from tests.house.sources import ROOT


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_reference_is_fresh(name: str) -> None:
    assert (ROOT / FOLDER / name).read_text("utf-8") == PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("field", Settings.model_fields)
def test_a_setting_says_what_it_is_for_and_what_it_should_be(field: str) -> None:
    assert PURPOSES.get(field)
    assert Settings.model_fields[field].description
