"""Run the whole product on this machine: until Ctrl-C, or for one demonstration."""

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from service.cli.demo import demonstrate
from service.cli.destinations import database_name, store_name
from service.cli.output import INTERRUPTED, KEY, Finished, console
from service.embedded.processes import ParentWatch, interruptible
from service.embedded.stack import Stack, embedded_stack, settings_under

app = typer.Typer(add_completion=False)
POLL_SECONDS = 0.5
WithParent = Annotated[
    bool, typer.Option("--with-parent", help="End when the process that started this one has ended.", hidden=True)
]


@app.command()
def up(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the web server; 0: any free one.")] = None,
    var: Annotated[Path, typer.Option(help="Folder of database, store and logs.")] = Path("var"),
    with_parent: WithParent = False,
) -> None:
    """Run broker, worker, sweeper and web server until Ctrl-C."""
    out, parent = console(), ParentWatch(with_parent)
    settings = settings_under(var)
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    try:
        with interruptible(), embedded_stack(settings, var, out.print) as stack:
            _show_addresses(stack, var)
            while True:
                stack.check()
                parent.check()
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        out.print("Stopped. Running experiments continue at the next start.")


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="An .npz file in MedMNIST layout to train on.")] = None,
    var: Annotated[Path, typer.Option(help="Folder for the demonstration; emptied first.")] = Path("var/demo"),
    with_parent: WithParent = False,
) -> None:
    """Train, test and serve a small experiment, then stop everything."""
    try:
        with interruptible():
            demonstrate(data, var, console(), ParentWatch(with_parent))
    except KeyboardInterrupt:
        console().print("Stopped before the end.")
        raise Finished(INTERRUPTED) from None


def _show_addresses(stack: Stack, var: Path) -> None:
    scopes = "--scope read --scope predict --scope submit --scope admin"
    first_key = (
        f"  .venv/bin/dermatriage keys create NAME {scopes} --var {shlex.quote(str(var))}\n"
        f"  export {KEY}=dt_…  # the key that it shows; a browser signs in with it\n"
    )
    console().print(
        f"\nDermaTriage runs.\n  Dashboard  {stack.url}/\n  API        {stack.url}/docs\n"
        f"  Database   {database_name(stack.settings)}\n  Store      {store_name(stack.settings)}\n"
        f"  Logs       {stack.logs}\n\n"
        f"In another terminal:\n{first_key if stack.settings.auth == 'keys' else ''}"
        f"  .venv/bin/dermatriage submit --preset demo --dataset synthetic --watch --url {stack.url}\n"
        "Ctrl-C stops everything.",
        soft_wrap=True,
    )
