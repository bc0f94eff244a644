"""`/docs` works without internet, under a policy that allows no other source."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from service.web.api_docs import FILES

CHROMIUM = Path("/usr/bin/chromium")


def test_page_names_only_files_that_this_service_has(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {f"/docs/{name}" for name in FILES} <= set(named)
    for address in named:
        assert address.startswith(("/", "data:")), address
        assert not address.startswith("/") or client.get(address).is_success
    assert re.findall(r"<(script|style)>|\son\w+=|\sstyle=", page.text) == []


def test_policy_allows_no_other_host_and_nothing_inline(client: TestClient) -> None:
    policy = client.get("/docs").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    for loose in ("unsafe", "http:", "https:", "*"):
        assert loose not in policy


@pytest.mark.parametrize("name", ["", "nothing.js", "..%2freference.py", "%2fetc%2fpasswd", "redoc.standalone.js"])
def test_no_other_file_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"/docs/{name}", follow_redirects=False).status_code in (307, 404)


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}")
def test_browser_shows_every_operation_and_contacts_no_other_host(client: TestClient) -> None:
    from playwright.sync_api import Route, sync_playwright

    requested: list[str] = []
    complaints: list[str] = []

    def answer(route: Route) -> None:
        requested.append(route.request.url)
        answered = client.get(urlsplit(route.request.url).path)
        route.fulfill(status=answered.status_code, headers=dict(answered.headers), body=answered.content)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        page.route("**/*", answer)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto("http://localhost/docs")
        page.wait_for_selector("#operations-predictions-predict", timeout=30_000)
        shown = page.locator(".opblock").count()
        page.locator("#operations-predictions-predict .opblock-summary-control").click()
        page.wait_for_selector("text=Judges one image with the champion", timeout=10_000)
        browser.close()
    document: dict[str, Any] = client.get("/openapi.json").json()
    described = [*document["paths"].values(), *document["webhooks"].values()]
    assert shown == sum(len(methods) for methods in described)
    assert {urlsplit(address).hostname for address in requested} == {"localhost"}
    assert complaints == []
