"""Submit an experiment from a file or a preset; options of the command line override it."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from models_store.contract.catalog import PRESETS
from models_store.contract.suggestions import suggestion
from service.cli.completing import architectures, class_weights, datasets, presets, strategies
from service.cli.experiments import Watch, follow_to_the_end
from service.cli.output import AsJson, BadInput, Url, command_line, connected, console, notes, show_json


def submit(
    spec: Annotated[Path | None, typer.Argument(help="JSON file of the experiment; - reads standard input.")] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"Instead of a file: {', '.join(PRESETS)}.", autocompletion=presets)
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set by name.", autocompletion=datasets)] = None,
    name: Annotated[str | None, typer.Option(help="Free text to find the experiment again.")] = None,
    architecture: Annotated[
        list[str] | None, typer.Option(help="Screen this one; may be repeated.", autocompletion=architectures)
    ] = None,
    class_weight: Annotated[
        list[str] | None, typer.Option(help="With this class weight; may be repeated.", autocompletion=class_weights)
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option(help="Fine-tune in this way; may be repeated.", autocompletion=strategies)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Maximum number of epochs per trial.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after this many epochs without improvement.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seeds weights, shuffling and augmentation.")] = None,
    weights: Annotated[str | None, typer.Option(help="Initial weights of transfer bases: imagenet or none.")] = None,
    priority: Annotated[int | None, typer.Option(help="9 runs first, 0 last.")] = None,
    queue: Annotated[str | None, typer.Option(help="cpu, or gpu to wait for a worker with a GPU.")] = None,
    promote: Annotated[str | None, typer.Option(help="Make the model champion: never, if_better or always.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other field: calibration.target_recall=0.95."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help="Submitting again with the same key submits nothing new.")
    ] = None,
    watch: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit an experiment from a file, a preset or the server's defaults; options override its fields."""
    overrides = {
        "dataset": dataset,
        "name": name,
        "architectures": architecture,
        "class_weights": class_weight,
        "strategies": strategy,
        "epochs": epochs,
        "patience": patience,
        "seed": seed,
        "weights": weights,
        "priority": priority,
        "queue": queue,
        "promote": promote,
    }
    experiment = _experiment(spec, preset, overrides, set_ or [])
    with connected(url) as client:
        submitted = client.submit(experiment, key=key)
        if watch:
            notes().print(f"Submitted {submitted.id}.")
            follow_to_the_end(client, submitted.id, as_json)
        elif as_json:
            show_json(submitted)
        else:
            follow_it = command_line(client, f"watch {submitted.id}")
            console().print(f"Submitted {submitted.id}.\nFollow it: {follow_it}", soft_wrap=True)


def _experiment(spec: Path | None, preset: str | None, overrides: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    if spec is not None and preset is not None:
        raise BadInput("give either a JSON file or --preset NAME, or neither for the defaults of the server")
    experiment = _read(spec) if spec is not None else _preset(preset) if preset is not None else {}
    experiment |= {field: value for field, value in overrides.items() if value not in (None, [])}
    for field in fields:
        _set(experiment, field)
    if "dataset" not in experiment:
        raise BadInput(
            "the experiment names no data set; add --dataset dermamnist, --dataset synthetic or your own, and --preset "
            f"NAME to start from {', '.join(PRESETS)}"
        )
    return experiment


def _preset(name: str) -> dict[str, Any]:
    if name not in PRESETS:
        raise BadInput(f"there is no preset {name!r}; {suggestion(name, PRESETS)}")
    return json.loads(json.dumps(PRESETS[name]))  # type: ignore[no-any-return]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = sys.stdin.read() if str(path) == "-" else path.read_text()
        experiment = json.loads(content)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({error})") from error
    except json.JSONDecodeError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if not isinstance(experiment, dict):
        raise BadInput(f'{path} must hold one JSON object, such as {{"dataset": "synthetic"}}')
    return experiment


def _set(experiment: dict[str, Any], assignment: str) -> None:
    """`a.b=1` puts the JSON value 1, or the text itself if it is not JSON, at `b` of `a`."""
    field, equals, text = assignment.partition("=")
    *outer, last = field.split(".")
    if not equals or not last or not all(outer):
        raise BadInput(f"--set {assignment} is not FIELD=VALUE, such as --set selection.min_specificity=0.6")
    place = experiment
    for name in outer:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise BadInput(f"--set {assignment}: {name} has no fields")
    try:
        place[last] = json.loads(text)
    except json.JSONDecodeError:
        place[last] = text
