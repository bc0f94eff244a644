"""The frame of every page: it loads nothing from elsewhere, and its errors can be read."""

import re

import pytest
from starlette.testclient import TestClient

PAGES = ("/", "/models", "/try", "/system", "/problems", "/problems/not-found")


@pytest.mark.parametrize("address", PAGES)
def test_every_page_has_the_disclaimer(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    assert "Not a medical device" in answer.text
    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"].split("style-src")[0]


@pytest.mark.parametrize("address", PAGES)
def test_a_page_has_no_inline_script_and_names_no_other_machine(client: TestClient, address: str) -> None:
    page = client.get(address).text
    assert re.findall(r"<script(?![^>]*(?: src=| type=\"application/json\"))", page) == []
    assert re.findall(r"\son\w+=", page) == []
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//", page) == []


def test_assets_are_cached_under_addresses_with_their_hash(client: TestClient) -> None:
    for address in set(re.findall(r"\"(/static/[^\"]+)\"", client.get("/").text)):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]


def test_an_error_on_a_page_is_a_page_with_a_remedy(client: TestClient) -> None:
    answer = client.get("/experiments/no!such!id/result")
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Correct what" in answer.text


@pytest.mark.parametrize(
    ("former", "address"),
    [
        ("/studies/new?preset=demo", "/experiments/new?preset=demo"),
        ("/studies/exp_1/result", "/experiments/exp_1/result"),
        ("/studies//elsewhere.example", "/experiments//elsewhere.example"),
    ],
)
def test_a_former_address_redirects_permanently(client: TestClient, former: str, address: str) -> None:
    answer = client.get(former, follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (308, address)


def test_an_unknown_address_is_a_page_for_a_browser_and_a_problem_for_a_program(client: TestClient) -> None:
    page = client.get("/nothing/here", headers={"Accept": "text/html,application/xhtml+xml"})
    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert '<a class="button" href="/">All experiments</a>' in page.text
    assert "default-src 'none'; script-src 'self'" in page.headers["Content-Security-Policy"]
    for headers in ({}, {"Accept": "application/json"}, {"Accept": "text/html", "Authorization": "Bearer none"}):
        problem = client.get("/nothing/here", headers=headers)
        assert (problem.status_code, problem.headers["Content-Type"]) == (404, "application/problem+json")
    refused = client.get("/v1/predict", headers={"Accept": "text/html"})
    assert (refused.status_code, refused.headers["Content-Type"]) == (405, "application/problem+json")
