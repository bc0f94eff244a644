"""A demonstration from images to predictions: it uses the HTTP API, and stops everything that it started."""

import io
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from rich.console import Console
from rich.markup import escape

from dermatriage_client import Client
from dermatriage_client.schemas import Prediction
from models_store.contract.catalog import DISCLAIMER, PRESETS
from models_store.datasets.errors import DatasetError
from models_store.datasets.layout import read_split
from models_store.datasets.official import official_file
from models_store.datasets.sources import is_builtin, resolve
from models_store.settings import Settings
from service.cli.datasets import register_file
from service.cli.progress import follow
from service.cli.results import failure_message, result_lines
from service.embedded.processes import ParentWatch
from service.embedded.stack import Stack, StackFailed, embedded_stack, settings_under

OFFICIAL = "dermamnist"
CONNECT_SECONDS = 4.0


class DemonstrationFailed(StackFailed):
    """The experiment of the demonstration did not succeed."""


@dataclass(frozen=True)
class Images:
    """What the demonstration trains on: the name of the data set, its file, and its description in the output."""

    dataset: str
    path: Path
    description: str


def demonstrate(data: Path | None, var: Path, out: Console, parent: ParentWatch) -> None:
    """Trains, tests and serves a small experiment on `data`, or on DermaMNIST, or on the synthetic set.

    Raises `DatasetError`, `StackFailed` and what the client raises; everything it started has ended in every case.
    """
    settings = settings_under(var).model_copy(update={"port": 0, "host": "127.0.0.1", "auth": "off"})
    chosen = _chosen(data, settings)
    out.print(f"[bold]DermaTriage demonstration on {escape(chosen.description)}.[/bold]", soft_wrap=True)
    out.print(f"{DISCLAIMER}\nDatabase, models and logs: {escape(str(var.resolve()))}", soft_wrap=True)
    with embedded_stack(settings, var, out.print, fresh=True) as stack, Client(stack.url) as client:
        if data is not None:
            register_file(data, chosen.dataset, stack.settings)
        _experiment(client, chosen, stack, out, parent)
        _show_predictions(client, chosen.path, out)
        _show_next_steps(stack, var, out)
    out.print(
        f"[bold]Done. Everything above was trained and tested on {escape(chosen.description)}.[/bold]", soft_wrap=True
    )


def _chosen(data: Path | None, settings: Settings) -> Images:
    if data is not None:
        name = dataset_name(data)
        return Images(name, data, f"your data set {name}, {data}")
    if (path := _official(settings)) is not None:
        return Images(OFFICIAL, path, f"official DermaMNIST, {path}")
    path = _resolved("synthetic", settings)
    return Images("synthetic", path, "the SYNTHETIC data set: generated images, so its figures mean nothing")


def dataset_name(path: Path) -> str:
    """The file's stem as the name of a data set; a built-in name gets a suffix, because the file may differ."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in path.stem.lower())
    name = kept.strip("_")[:58] or "data"
    return f"{name}_file" if is_builtin(name) else name


def _official(settings: Settings) -> Path | None:
    """The official file, if it is on this machine or its server can be reached."""
    cached = (settings.data_root / f"{OFFICIAL}.npz", Path.home() / ".medmnist" / f"{OFFICIAL}.npz")
    if not any(path.exists() for path in cached) and not _reachable(official_file(OFFICIAL).url):
        return None
    try:
        return _resolved(OFFICIAL, settings)
    except DatasetError:
        if any(path.exists() for path in cached):
            raise  # a damaged file is an error, not a reason to use another data set
        return None


def _reachable(url: str) -> bool:
    address = urlsplit(url)
    try:
        with socket.create_connection((address.hostname, address.port or 443), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _resolved(name: str, settings: Settings) -> Path:
    return resolve(name, data_root=settings.data_root, cache_root=settings.cache_root, registered=None, storage=None)


def _experiment(client: Client, chosen: Images, stack: Stack, out: Console, parent: ParentWatch) -> None:
    submitted = client.submit({**PRESETS["demo"], "dataset": chosen.dataset})
    out.print(f"Submitted {submitted.id}: screening, fine-tuning, and one final test.")
    experiment = follow(client, submitted.id, out, _both(stack.check, parent.check))
    if experiment.result is None:
        why = failure_message(experiment) or "no reason was recorded"
        raise DemonstrationFailed(f"the experiment {experiment.status}: {why}; the logs are in {stack.logs}")
    out.print("\n".join(["", *result_lines(experiment.result, chosen.dataset), ""]), soft_wrap=True)


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def check() -> None:
        first()
        second()

    return check


def _show_predictions(client: Client, path: Path, out: Console) -> None:
    """Sends the last malignant and the last benign test image, now that the experiment is over."""
    test = read_split(path, "test")
    for name, label in (("malignant", 1), ("benign", 0)):
        image = test.images[np.flatnonzero(test.malignant == label)[-1]]
        answer = client.predict((f"{name}.png", _png(image)))
        out.print(
            f"A test image known to be {name}: predicted [bold]{answer.label}[/bold] ({_verdict(name, answer)}), "
            f"probability of malignant {answer.probability_malignant:.4f}, threshold {answer.threshold:.4f}",
            soft_wrap=True,
        )


def _verdict(known: str, answer: Prediction) -> str:
    if answer.label == known:
        return "right"
    return "a missed cancer" if known == "malignant" else "a false alarm"


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _show_next_steps(stack: Stack, var: Path, out: Console) -> None:
    out.print(
        f"\nThe service at {stack.url}/ stops now. To start it again with the model that was just trained:\n"
        f"  .venv/bin/dermatriage up --var {var}\n"
        "and then, in another terminal:\n"
        "  .venv/bin/dermatriage predict lesion.png\n"
        "  .venv/bin/dermatriage submit --preset laptop --dataset NAME --watch\n"
        "Stopping ...",
        soft_wrap=True,
        markup=False,
    )
