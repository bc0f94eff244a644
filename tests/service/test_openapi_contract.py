"""Whatever is sent, with and without a key: no 5xx but the declared 503, and no answer outside its schema."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from service.access import keys
from service.app import create_app

EXAMPLES_AN_OPERATION = 8


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("auth", ["off", "stranger", "key"])
def test_every_answer_is_in_the_document(
    auth: str, settings: Settings, database: Database, storage: Storage, make_model: Any
) -> None:
    make_model(promote=True)
    chosen = settings.model_copy(update={"auth": "off" if auth == "off" else "keys", "requests_per_minute": 1_000_000})
    app = create_app(chosen, database=database, storage=storage)
    headers = {}
    if auth == "key":
        with database.write() as session:
            headers = {"Authorization": f"Bearer {keys.create(session, 'robot', ['admin'])[1]}"}
        app.state.service.keyring.refresh()
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.app = app
    app.state.service.predictor.refresh()
    checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
    for found in schema.get_all_operations():
        _hold(found.ok(), headers, checks)
    app.state.service.judge.close()


def _hold(operation: Any, headers: dict[str, str], checks: list[Any]) -> None:
    @settings(
        max_examples=EXAMPLES_AN_OPERATION, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        answer = case.call(headers=headers)
        case.validate_response(answer, checks=checks if answer.status_code == 503 else [*checks, not_a_server_error])

    ask()
