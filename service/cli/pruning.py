"""Removing what the server's settings no longer keep."""

from typing import Annotated

import typer

from service.cli.output import AsJson, Url, Yes, confirm, connected, console, show_json


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count and remove nothing.")] = False,
    yes: Yes = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Remove the checkpoints, logs, events and predictions that the server's settings no longer keep."""
    if not dry_run:
        confirm("Remove for good what the settings KEEP_…_DAYS no longer keep?", yes)
    with connected(url) as client:
        pruned = client.prune(dry_run=dry_run)
    if as_json:
        show_json(pruned)
        return
    console().print(
        f"{'Would remove' if dry_run else 'Removed'} {pruned.checkpoints:,} checkpoints "
        f"({pruned.checkpoint_bytes / 1e6:,.1f} MB), {pruned.logs:,} logs, {pruned.events:,} events and "
        f"{pruned.predictions:,} predictions.",
        soft_wrap=True,
    )
