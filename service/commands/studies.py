"""Submit a study, watch it, cancel it, fetch its report."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from models_store.presets import PRESETS
from service.client import Client
from service.commands.output import (
    INTERRUPTED,
    AsJson,
    BadInput,
    Finished,
    Url,
    connected,
    console,
    figure,
    notes,
    show_json,
)
from service.progress import follow

ExperimentId = Annotated[str, typer.Argument(metavar="ID", help="Id of the experiment.")]
RATES = ("recall", "specificity", "precision", "f1", "f2", "roc_auc", "pr_auc")


def submit(
    spec: Annotated[Path | None, typer.Argument(help="JSON file of the experiment; - reads standard input.")] = None,
    preset: Annotated[str | None, typer.Option(help=f"Instead of a file: {', '.join(PRESETS)}.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set by name; replaces the one in SPEC.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the experiment to its end.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Submit an experiment, from a file or a preset."""
    experiment = _experiment(spec, preset, dataset)
    with connected(url) as client:
        submitted = client.submit(experiment)
        if watch:
            notes().print(f"Submitted {submitted['id']}.")
            _watch(client, submitted["id"], as_json)
        elif as_json:
            show_json(submitted)
        else:
            console().print(f"Submitted {submitted['id']}.\nFollow it: dermatriage watch {submitted['id']}")


def watch(experiment: ExperimentId, url: Url = None, as_json: AsJson = False) -> None:
    """Follow an experiment to its end; exit code 1 if it fails or is cancelled."""
    with connected(url) as client:
        _watch(client, experiment, as_json)


def cancel(experiment: ExperimentId, url: Url = None, as_json: AsJson = False) -> None:
    """Cancel an experiment: what waits at once, what runs as soon as it has stopped."""
    with connected(url) as client:
        cancelled = client.cancel(experiment)
    if as_json:
        show_json(cancelled)
    else:
        console().print(f"{experiment} is {cancelled['status']}.")


def report(
    experiment: ExperimentId,
    output: Annotated[Path | None, typer.Option(help="File to write; default ID.html.")] = None,
    url: Url = None,
) -> None:
    """Save the report of an experiment as one HTML file."""
    with connected(url) as client:
        content = client.report(experiment)
    target = output or Path(f"{experiment}.html")
    target.write_bytes(content)
    console().print(f"Wrote {target}.")


def result_lines(result: dict[str, Any]) -> list[str]:
    """The test figures of a finished experiment, recall first, each with its 95 % interval where it has one."""
    test, counts = result["test"], result["test"]["confusion"]
    lines = [f"  {name.upper() if name == 'recall' else name:12} {figure(test, name)}" for name in RATES]
    lines.append(f"  missed       {counts['fn']} of {counts['fn'] + counts['tp']} malignant images")
    lines.append(f"  false alarms {counts['fp']} of {counts['fp'] + counts['tn']} benign images")
    return [f"Test set at the threshold {result['threshold']:.4f}, winner {result['winner']}:", *lines]


def _experiment(spec: Path | None, preset: str | None, dataset: str | None) -> dict[str, Any]:
    if (spec is None) == (preset is None):
        raise BadInput("give either a JSON file or --preset NAME")
    experiment = _preset(preset) if preset is not None else _read(spec)
    if dataset is not None:
        experiment["dataset"] = dataset
    if "dataset" not in experiment:
        raise BadInput("the experiment names no data set; add --dataset dermamnist, --dataset synthetic or your own")
    return experiment


def _preset(name: str) -> dict[str, Any]:
    if name not in PRESETS:
        raise BadInput(f"there is no preset {name!r}; choose from {', '.join(PRESETS)}")
    return dict(PRESETS[name])


def _read(path: Path | None) -> dict[str, Any]:
    assert path is not None
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


def _watch(client: Client, experiment_id: str, as_json: bool) -> None:
    try:
        experiment = follow(client, experiment_id, notes() if as_json else console())
    except KeyboardInterrupt:
        notes().print(
            f"The experiment goes on. Follow it again: dermatriage watch {experiment_id}; "
            f"stop it: dermatriage cancel {experiment_id}"
        )
        raise Finished(INTERRUPTED) from None
    if as_json:
        show_json(experiment)
    elif experiment["status"] == "succeeded":
        console().print("\n".join(result_lines(experiment["result"])))
    if experiment["status"] != "succeeded":
        why = (experiment["error"] or {}).get("message", "")
        notes().print(f"{experiment_id} {experiment['status']}. {why}".strip())
        raise Finished(1)
