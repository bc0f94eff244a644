"""What a program imports together with the client."""

import inspect
import json
import subprocess
import sys

from dermatriage_client import AsyncClient, Client

SERVER = ("service", "workers", "models_store", "migrations")
HEAVY = ("fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "celery", "redis", "onnxruntime", "numpy", "PIL")


def imported_with(module: str) -> set[str]:
    """The packages that a fresh Python has loaded once it has imported `module`."""
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in json.loads(names)}


def test_importing_the_client_imports_neither_web_application_nor_database_nor_celery() -> None:
    imported = imported_with("dermatriage_client")

    assert {"httpx", "pydantic", "dermatriage_client"} <= imported
    assert imported.isdisjoint((*SERVER, *HEAVY))


def test_commands_over_http_start_without_database_and_broker() -> None:
    assert imported_with("service.cli").isdisjoint(HEAVY)


def test_both_clients_have_the_same_methods() -> None:
    blocking, awaited = (dict(inspect.getmembers(kind, inspect.isfunction)) for kind in (Client, AsyncClient))
    public = {name for name in blocking if not name.startswith("_")}

    assert public == {name for name in awaited if not name.startswith("_")}
    for name in public:
        assert inspect.signature(blocking[name]).parameters == inspect.signature(awaited[name]).parameters
