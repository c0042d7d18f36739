"""Debian's Chromium as a dispatcher: pages of the live map, with everything that their consoles say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.acceptance.field import Field
from tests.servers import absent, program

WEB = Path(__file__).parents[2] / "web"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium until the end of the block; the page's libraries must be there."""
    if not (WEB / "static" / "vendor" / "mqtt.js").exists():
        absent("the page's libraries (make web)")
    path = program("chromium")
    with sync_playwright() as playwright:
        # Chromium has no sandbox for root, as whom containers run.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class Visit:
    """One page, with everything that its console said."""

    def __init__(self, field: Field, browser: Browser, **options: Any) -> None:  # noqa: ANN401 Playwright's own options
        self.field = field
        self.context = browser.new_context(viewport={"width": 1300, "height": 800}, **options)
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.url = f"http://127.0.0.1:{field.settings['FIELDBEAT_HTTP_PORT']}/"
        self.page.goto(self.url)

    def sign_in(self, role: str = "dashboard") -> None:
        self.page.get_by_label("Token").fill(self.field.token("acme", "dispatcher", role))
        self.page.get_by_role("button", name="Sign in").click()
        self.see_live()

    def see_live(self) -> None:
        """Return when the page is connected and the dialog has gone."""
        expect(self.page.locator("#link-text")).to_have_text("live", timeout=10_000)
        expect(self.page.locator("#sign-in")).not_to_be_visible()

    def row(self, user: str) -> Any:  # noqa: ANN401 a locator
        return self.page.locator(f"#person-{user}")

    @property
    def policy_broken(self) -> list[str]:
        return [text for text in self.said if "Content Security Policy" in text]
