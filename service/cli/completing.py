"""Shell completion: names come from the code, ids from the server if it responds within a second."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import typer

from dermatriage_client import Client, Refused, Retries, ServerUnreachable
from models_store.contract.catalog import ARCHITECTURES, CLASS_WEIGHTS, PRESETS, STRATEGIES
from service.cli.output import connected

Completions = list[tuple[str, str]]
TIMEOUT_SECONDS = 1.0
MAX_IDS = 50


def presets(incomplete: str) -> Completions:
    return _matching(
        ((name, ", ".join(preset.get("architectures", ()))) for name, preset in PRESETS.items()), incomplete
    )


def architectures(incomplete: str) -> Completions:
    return _matching(((name, known.hypothesis) for name, known in ARCHITECTURES.items()), incomplete)


def strategies(incomplete: str) -> Completions:
    return _matching(((name, known.hypothesis) for name, known in STRATEGIES.items()), incomplete)


def class_weights(incomplete: str) -> Completions:
    return _matching(((name, "") for name in CLASS_WEIGHTS), incomplete)


def datasets(context: typer.Context, incomplete: str) -> Completions:
    found = _from_server(
        context, lambda client: ((dataset.name, dataset.source) for dataset in client.catalog().datasets)
    )
    return _matching(found, incomplete)


def experiment_ids(context: typer.Context, incomplete: str) -> Completions:
    found = _from_server(
        context,
        lambda client: ((found.id, f"{found.status} {found.spec.get('name', '')}") for found in client.experiments()),
    )
    return _matching(found, incomplete)


def versions(context: typer.Context, incomplete: str) -> Completions:
    found = _from_server(context, lambda client: ((model.version, model.winner) for model in client.models()))
    return _matching(found, incomplete)


def _from_server(context: typer.Context, query: Callable[[Client], Iterator[tuple[str, str]]]) -> Completions:
    """Empty if the server does not respond, because a completion cannot report an error."""
    try:
        with connected(context.params.get("url"), Retries(most=0), TIMEOUT_SECONDS) as client:
            return list(islice(query(client), MAX_IDS))
    except (ServerUnreachable, Refused, ValueError):
        return []


def _matching(candidates: Iterable[tuple[str, str]], incomplete: str) -> Completions:
    return [(name, meaning) for name, meaning in dict(candidates).items() if name.startswith(incomplete)]
