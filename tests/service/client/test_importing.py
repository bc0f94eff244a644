"""What a program that imports the client gets along with it."""

import inspect
import json
import subprocess
import sys
from typing import Any

from service.client import AsyncClient, Client
from service.client.verbs import Many, One, Verbs

HEAVY = ("fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "celery", "redis", "onnxruntime", "numpy", "PIL")


def imported_with(module: str) -> set[str]:
    """The packages that a fresh Python has loaded once it has imported `module`."""
    said = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    names = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in json.loads(names)}


def test_importing_the_client_imports_neither_web_application_nor_database_nor_celery() -> None:
    imported = imported_with("service.client")

    assert {"httpx", "pydantic", "service"} <= imported
    assert imported.isdisjoint(HEAVY)


def test_verbs_that_talk_http_start_without_database_and_broker() -> None:
    assert imported_with("service.cli").isdisjoint(HEAVY)


def test_every_method_says_what_it_takes_on_both_clients() -> None:
    verbs = {name: verb for name, verb in vars(Verbs).items() if isinstance(verb, One | Many)}
    assert {"submit", "watch", "predict_batch", "bundle"} <= verbs.keys()
    clients: list[Any] = [Client(), AsyncClient()]
    for client in clients:
        for name, verb in verbs.items():
            assert inspect.signature(getattr(client, name)) == inspect.signature(verb.request)
            assert getattr(client, name).__doc__ == verb.request.__doc__
