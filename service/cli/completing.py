"""What the shell offers when Tab is pressed. Names come from the code, ids from the server if one answers at once."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import typer

from dermatriage_client import Client, Refused, Retries, ServerUnreachable
from models_store.contract.catalog import ARCHITECTURES, CLASS_WEIGHTS, PRESETS, STRATEGIES
from service.cli.output import connected

Offered = list[tuple[str, str]]
PATIENCE_SECONDS = 1.0
MOST_IDS = 50


def presets(incomplete: str) -> Offered:
    return _starting(
        ((name, ", ".join(preset.get("architectures", ()))) for name, preset in PRESETS.items()), incomplete
    )


def architectures(incomplete: str) -> Offered:
    return _starting(((name, known.hypothesis) for name, known in ARCHITECTURES.items()), incomplete)


def strategies(incomplete: str) -> Offered:
    return _starting(((name, known.hypothesis) for name, known in STRATEGIES.items()), incomplete)


def class_weights(incomplete: str) -> Offered:
    return _starting(((name, "") for name in CLASS_WEIGHTS), incomplete)


def datasets(context: typer.Context, incomplete: str) -> Offered:
    offered = _asked(context, lambda client: ((known.name, known.source) for known in client.catalog().datasets))
    return _starting(offered, incomplete)


def experiment_ids(context: typer.Context, incomplete: str) -> Offered:
    found = _asked(
        context,
        lambda client: ((found.id, f"{found.status} {found.spec.get('name', '')}") for found in client.experiments()),
    )
    return _starting(found, incomplete)


def versions(context: typer.Context, incomplete: str) -> Offered:
    found = _asked(context, lambda client: ((model.version, model.winner) for model in client.models()))
    return _starting(found, incomplete)


def _asked(context: typer.Context, ask: Callable[[Client], Iterator[tuple[str, str]]]) -> Offered:
    """What the server says; nothing where none answers: a completion has nowhere to report an error to."""
    try:
        with connected(context.params.get("url"), Retries(most=0), PATIENCE_SECONDS) as client:
            return list(islice(ask(client), MOST_IDS))
    except (ServerUnreachable, Refused, ValueError):
        return []


def _starting(offered: Iterable[tuple[str, str]], incomplete: str) -> Offered:
    return [(name, meaning) for name, meaning in dict(offered).items() if name.startswith(incomplete)]
