"""Verbs that need database, broker or data sets are loaded when they are called.

The others only talk HTTP: they start, and complete in the shell, in a third of the time without them.
"""

from importlib import import_module
from typing import Any

from typer import main
from typer.core import TyperGroup

STACK = "service.commands.stack"
LATER = {"up": STACK, "demo": STACK, "dataset": "service.commands.datasets", "keys": "service.commands.keys"}
FIRST = ("up", "demo")


class Verbs(TyperGroup):
    """All verbs, those of `LATER` among them: the stack's first, what works on this machine's files last."""

    def list_commands(self, ctx: Any) -> list[str]:
        now = [name for name in super().list_commands(ctx) if name not in LATER]
        return [*FIRST, *now, *(name for name in LATER if name not in FIRST)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in LATER and cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name)
        return super().get_command(ctx, cmd_name)


def _load(name: str) -> Any:
    group: Any = main.get_command(import_module(LATER[name]).app)
    return group.commands[name] if name in FIRST else group
