"""What the server is doing, and which version this is."""

from importlib.metadata import version as installed
from typing import Any

import typer

from dermatriage_client import Client
from dermatriage_client.schemas import Status
from service.cli.output import AsJson, Finished, Url, connected, console, show_json, show_table
from service.cli.results import LISTED, listed

AT_WORK: tuple[Status, ...] = ("running", "cancelling", "queued")


def status(url: Url = None, as_json: AsJson = False) -> None:
    """Say whether the server is ready, which model answers and what runs; exit code 1 if it is not ready."""
    with connected(url) as client:
        found = _found(client)
    if as_json:
        show_json(found)
    else:
        _show(found)
    if found["status"] != "ready":
        raise Finished(1)


def version(as_json: AsJson = False) -> None:
    """Say which version of DermaTriage this is."""
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
        "experiments": [each for state in AT_WORK for each in client.experiments(status=state)],
    }


def _show(found: dict[str, Any]) -> None:
    console().print(f"{found['url']} is [bold]{found['status']}[/bold]", soft_wrap=True)
    show_table(
        ("part", "", "finding"),
        ((name, "ok" if check.ok else "failed", check.detail) for name, check in found["checks"].items()),
    )
    if found["experiments"]:
        console().print("\nAt work:")
        show_table(LISTED, map(listed, found["experiments"]))
    else:
        console().print("\nNo experiment runs or waits.")
