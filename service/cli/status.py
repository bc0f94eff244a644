"""The state of the server, and the version."""

from importlib.metadata import version as installed
from typing import Any

import typer

from dermatriage_client import Client
from dermatriage_client.schemas import Status
from service.cli.output import AsJson, Finished, Url, connected, console, show_json, show_table
from service.cli.results import EXPERIMENT_COLUMNS, experiment_row

ACTIVE: tuple[Status, ...] = ("running", "cancelling", "queued")


def status(url: Url = None, as_json: AsJson = False) -> None:
    """Show whether the server is ready, its model and what runs; exit code 1 if it is not ready."""
    with connected(url) as client:
        found = _found(client)
    if as_json:
        show_json(found)
    else:
        _show(found)
    if found["status"] != "ready":
        raise Finished(1)


def version(as_json: AsJson = False) -> None:
    """Print the version of DermaTriage."""
    number = installed("dermatriage")
    if as_json:
        show_json({"version": number})
    else:
        typer.echo(f"dermatriage {number}")


def _found(client: Client) -> dict[str, Any]:
    readiness = client.ready()
    return {
        "url": client.url,
        "status": readiness.status,
        "checks": readiness.checks,
        "experiments": [each for state in ACTIVE for each in client.experiments(status=state)],
    }


def _show(found: dict[str, Any]) -> None:
    console().print(f"{found['url']} is [bold]{found['status']}[/bold]", soft_wrap=True)
    show_table(
        ("part", "", "finding"),
        ((name, "ok" if check.ok else "failed", check.detail) for name, check in found["checks"].items()),
    )
    if found["experiments"]:
        console().print("\nActive experiments:")
        show_table(EXPERIMENT_COLUMNS, map(experiment_row, found["experiments"]))
    else:
        console().print("\nNo experiment is running or queued.")
