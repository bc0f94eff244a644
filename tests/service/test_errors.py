"""Every error is a problem with a remedy, and the OpenAPI document describes it."""

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from dermatriage_client.problems import ProblemDocument
from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from service.app import create_app
from service.problem_kinds import KINDS

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="session", params=["sqlite"])
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database is enough: no test here queries it."""
    return f"sqlite:///{tmp_path_factory.mktemp('errors')}/none.db"


@pytest.fixture
def operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    paths = app.openapi()["paths"]
    return [(path, method, item[method]) for path, item in paths.items() for method in METHODS if method in item]


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/experiments/a/b/c", 404),
        ("DELETE", "/v1/experiments", 405),
        ("GET", "/predict", 405),
        ("GET", "/v1/experiments/%00", 400),
        ("GET", "/v1/models/..%2f..%2fetc", 404),
        ("POST", "/v1/models/rollback", 422),
    ],
)
def test_error_is_a_problem_with_a_remedy(client: TestClient, method: str, address: str, status: int) -> None:
    answer = client.request(method, address)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert problem["status"] == status
    assert problem["type"].startswith("/problems/")
    assert all(problem[field] for field in ("title", "detail", "remedy", "instance"))
    assert problem["title"] in client.get(problem["type"]).text


def test_wrong_method_is_answered_with_the_allowed_ones(client: TestClient) -> None:
    assert "POST" in client.get("/predict").headers["Allow"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 422),
        (b'{"dataset": "\xe9"}', 400),
        (b"[" * 100_000, 400),
        (b'{"dataset": "\\ud800"}', 422),
        (b'{"\\ud800": 1}', 422),
        (b'{"dataset": NaN}', 422),
        (b" " * 300_000, 413),
        (b"", 422),
    ],
)
def test_body_that_is_no_proper_json_is_a_problem(client: TestClient, content: bytes, status: int) -> None:
    answer = client.post("/v1/experiments", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["remedy"]


def test_unexpected_error_reveals_nothing_of_the_code(app: FastAPI) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the secret is 42")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/broken")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "42" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("address", ["/healthz", "/nowhere", "/docs", "/openapi.json"])
def test_every_answer_has_security_headers(client: TestClient, address: str) -> None:
    headers = client.get(address).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_root_is_a_page(client: TestClient) -> None:
    assert client.get("/").headers["Content-Type"] == "text/html; charset=utf-8"


def test_every_operation_documents_its_problems(operations: list[tuple[str, str, dict[str, Any]]]) -> None:
    assert len(operations) >= 15
    for path, method, operation in operations:
        problems = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert "500" in problems, (path, method)
        for answer in problems.values():
            content = answer["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/ProblemDocument"}
            assert content["examples"], (path, method)
            for kind, example in content["examples"].items():
                ProblemDocument.model_validate(example["value"])
                assert example["value"]["type"] == f"/problems/{kind}"


def test_operation_ids_are_unique_names_for_programs(
    operations: list[tuple[str, str, dict[str, Any]]],
) -> None:
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(set(names)) == len(names)
    assert {"submit_experiment", "cancel_experiment", "predict", "predict_unversioned", "promote_model"} <= set(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) and "v1" not in name for name in names)


def test_result_of_an_experiment_is_typed(app: FastAPI) -> None:
    schemas = app.openapi()["components"]["schemas"]
    assert {"$ref": "#/components/schemas/ResultRead"} in schemas["ExperimentRead"]["properties"]["result"]["anyOf"]
    assert {"winner", "threshold", "guarantee", "test"} <= set(schemas["ResultRead"]["required"])
    assert {"recall", "specificity", "confusion"} <= set(schemas["TestFigures"]["required"])


@pytest.mark.parametrize("kind", KINDS)
def test_type_of_every_problem_leads_to_a_page_that_needs_no_key(
    settings: Settings, database: Database, storage: Storage, kind: str
) -> None:
    app = create_app(settings.model_copy(update={"auth": "keys"}), database=database, storage=storage)
    page = TestClient(app).get(f"/problems/{kind}")
    text = html.unescape(page.text)
    assert page.status_code == 200
    assert KINDS[kind].title in text
    assert KINDS[kind].remedy in text


def test_pages_of_problems_are_listed_and_no_other_exists(client: TestClient) -> None:
    listed = re.findall(r'href="/problems/([a-z-]+)"', client.get("/problems").text)
    assert listed == list(KINDS)
    assert client.get("/problems/nothing").status_code == 404


def test_every_operation_has_examples_of_body_and_answer(
    app: FastAPI, operations: list[tuple[str, str, dict[str, Any]]]
) -> None:
    schemas = app.openapi()["components"]["schemas"]
    for path, method, operation in operations:
        bodies = [operation[key] for key in ("requestBody",) if key in operation]
        answers = [answer for status, answer in operation["responses"].items() if status < "300"]
        assert answers, (path, method)
        for content in contents(bodies + answers):
            assert has_example(content, schemas), (path, method, content)


def test_every_reference_in_the_document_leads_somewhere(app: FastAPI) -> None:
    document = app.openapi()
    assert set(references(document)) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def contents(holders: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for holder in holders:
        yield from holder.get("content", {}).values()  # a 204 has none


def has_example(node: dict[str, Any], schemas: dict[str, Any]) -> bool:
    """An example of the whole, or of every part of it that an example could be given of."""
    if "example" in node or "examples" in node or "const" in node or "enum" in node or "default" in node:
        return True
    if "schema" in node:
        return has_example(node["schema"], schemas)
    if "$ref" in node:
        return has_example(schemas[node["$ref"].rsplit("/", 1)[1]], schemas)
    if node.get("type") == "array":
        return has_example(node["items"], schemas)
    if "properties" in node:
        return all(has_example(part, schemas) for name, part in node["properties"].items() if name != "next_cursor")
    return node.get("type") == "object" and has_example(node.get("additionalProperties", {}), schemas)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for part in node.values():
            yield from references(part)
    elif isinstance(node, list):
        for part in node:
            yield from references(part)
