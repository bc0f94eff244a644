"""The system's Chromium, and pages that record console errors, foreign requests and accessibility violations."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
SEVERE = ("serious", "critical")


def chromium() -> str:
    """Its path. Without it, the test fails in CI and is skipped elsewhere."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        message = "no Chromium is installed: apt-get install -y chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def started() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """One visitor's page. `errors` come from its console; `foreign_requests` are the blocked ones to other hosts."""

    page: Page
    home: str
    errors: list[str] = field(default_factory=list)
    foreign_requests: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        answer = self.page.goto(f"{self.home}{path}")
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"

    def accessibility_violations(self) -> list[str]:
        """What axe-core rates as serious or critical on the current page."""
        violations = Axe().run(self.page).response["violations"]
        return [
            f"{found['id']} ({found['impact']}): {node['html'][:200]}"
            for found in violations
            if found["impact"] in SEVERE
            for node in found["nodes"]
        ]

    def is_clean(self) -> bool:
        """Fails with the errors or foreign requests, if there are any."""
        assert self.errors == []
        assert self.foreign_requests == []
        return True


@contextmanager
def visit(browser: Browser, home: str, *, colours: str = "light", **device: Any) -> Iterator[Visit]:
    context = browser.new_context(color_scheme=colours, **(device or DESKTOP))  # type: ignore[arg-type]
    visit = Visit(context.new_page(), home)

    def block_foreign(route: Route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in ("http", "https") and f"{address.scheme}://{address.netloc}" != home:
            visit.foreign_requests.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    context.route("**/*", block_foreign)
    visit.page.on("console", lambda message: visit.errors.append(message.text) if message.type == "error" else None)
    visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
    try:
        yield visit
    finally:
        context.close()
