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
def test_a_former_address_redirects_for_good(client: TestClient, former: str, address: str) -> None:
    answer = client.get(former, follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (308, address)
