"""List experiments, show one, follow it, cancel it, retry it, delete it, save its report."""

import json
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from dermatriage_client import Client
from dermatriage_client.schemas import Status
from models_store.experiment.ranking import Ranking
from service.cli.completing import experiment_ids
from service.cli.identifiers import HELP, experiment_id
from service.cli.output import (
    INTERRUPTED,
    AsJson,
    Finished,
    Limit,
    Url,
    Yes,
    command_line,
    confirm,
    connected,
    console,
    notes,
    show_json,
    show_table,
)
from service.cli.progress import follow
from service.cli.results import (
    EXPERIMENT_COLUMNS,
    experiment_lines,
    experiment_row,
    failure_message,
    result_lines,
    trial_columns,
    trial_rows,
)

ExperimentId = Annotated[
    str, typer.Argument(metavar="ID", help=f"Id of the experiment. {HELP}", autocompletion=experiment_ids)
]
OfStatus = Annotated[Status | None, typer.Option(help="Only experiments with this status.")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow the experiment to its end.")]


def experiments(
    status: OfStatus = None,
    limit: Limit = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List experiments, newest first."""
    with connected(url) as client:
        found = client.experiments(status=status, page_size=min(limit, 200))
        newest = list(islice(found, limit))
        first = command_line(client, "submit --preset demo --dataset synthetic --watch")
    if as_json:
        show_json(newest)
    elif newest:
        show_table(EXPERIMENT_COLUMNS, map(experiment_row, newest))
    else:
        notes().print(f"There are no experiments. Submit one: {first}", soft_wrap=True)


def show(experiment: ExperimentId, url: Url = None, as_json: AsJson = False) -> None:
    """Show one experiment: its test figures, recall first with intervals, and its trials."""
    with connected(url) as client:
        found = client.experiment(experiment_id(client, experiment))
        trials = client.trials(found.id, epochs=False)
    if as_json:
        show_json({"experiment": found, "trials": trials})
        return
    console().print(escape("\n".join(experiment_lines(found))), soft_wrap=True)
    if trials:
        ranking = Ranking.of_answer(found.spec)
        console().print(f"\nTrials, ranked by {ranking.label} of their best epoch on the selection images:")
        show_table(trial_columns(ranking), trial_rows(trials, ranking))
        console().print(escape(ranking.why_first(trials) or ""), soft_wrap=True)


def watch(
    experiment: ExperimentId,
    events: Annotated[bool, typer.Option("--events", help="Print each event as a line of JSON, as it comes.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Follow an experiment to its end; exit code 1 if it fails or is cancelled."""
    with connected(url) as client:
        experiment = experiment_id(client, experiment)
        if events:
            _print_events(client, experiment)
        else:
            follow_to_the_end(client, experiment, as_json)


def cancel(experiment: ExperimentId, url: Url = None, as_json: AsJson = False) -> None:
    """Cancel an experiment: queued trials at once, running ones as soon as they have stopped."""
    with connected(url) as client:
        cancelled = client.cancel(experiment_id(client, experiment))
    if as_json:
        show_json(cancelled)
    else:
        console().print(f"{cancelled.id} is {cancelled.status}.")


def retry(
    experiment: ExperimentId,
    watch: Watch = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Retry a failed experiment: finished trials are kept, failed ones run again."""
    with connected(url) as client:
        experiment = experiment_id(client, experiment)
        retried = client.retry(experiment)
        if watch:
            follow_to_the_end(client, experiment, as_json)
        elif as_json:
            show_json(retried)
        else:
            follow_it = command_line(client, f"watch {experiment}")
            console().print(f"{experiment} is {retried.status}. Follow it: {follow_it}", soft_wrap=True)


def delete(experiment: ExperimentId, yes: Yes = False, url: Url = None) -> None:
    """Delete an ended experiment with its model, curves, logs and checkpoints."""
    with connected(url) as client:
        experiment = experiment_id(client, experiment)
        confirm(f"Delete {experiment} with its model, curves, logs and checkpoints for good?", yes)
        client.delete_experiment(experiment)
    console().print(f"Deleted {experiment}.")


def report(
    experiment: ExperimentId,
    output: Annotated[Path | None, typer.Option(help="File to write; default ID.html.")] = None,
    url: Url = None,
) -> None:
    """Save the report of an experiment as one HTML file."""
    with connected(url) as client:
        experiment = experiment_id(client, experiment)
        content = client.report(experiment)
    target = output or Path(f"{experiment}.html")
    target.write_text(content, encoding="utf-8")
    console().print(f"Wrote {target}.", soft_wrap=True)


def follow_to_the_end(client: Client, experiment_id: str, as_json: bool) -> None:
    """Shows progress, then the result. Raises `Finished` unless the experiment succeeded."""
    try:
        experiment = follow(client, experiment_id, notes() if as_json else console())
    except KeyboardInterrupt:
        notes().print(
            f"The experiment continues. Follow it again: {command_line(client, f'watch {experiment_id}')}; "
            f"stop it: {command_line(client, f'cancel {experiment_id}')}",
            soft_wrap=True,
        )
        raise Finished(INTERRUPTED) from None
    if as_json:
        show_json(experiment)
    elif experiment.result is not None:
        lines = result_lines(experiment.result, experiment.spec["dataset"])
        console().print(escape("\n".join(lines)), soft_wrap=True)
    if experiment.status != "succeeded":
        notes().print(escape(f"{experiment_id} {experiment.status}. {failure_message(experiment)}".strip()))
        raise Finished(1)


def _print_events(client: Client, experiment_id: str) -> None:
    status = client.experiment(experiment_id).status
    for event in client.watch(experiment_id):
        line = {"number": event.number, "kind": event.kind, **event.data}
        typer.echo(json.dumps(line))
        status = event.data["status"] if event.kind == "experiment" and "status" in event.data else status
    if status != "succeeded":
        raise Finished(1)
