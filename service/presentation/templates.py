"""The Jinja environment of the dashboard and the report: the same filters, the same macros, the same strict rules."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models_store import wording
from models_store.contract.catalog import DISCLAIMER
from service.presentation import phrases

SERVICE = Path(__file__).parent.parent
# The dashboard serves these files as assets; the report includes their text.
STATIC = SERVICE / "presentation" / "static"
FOLDERS = (
    SERVICE / "presentation" / "templates",
    STATIC,
    SERVICE / "dashboard" / "templates",
    SERVICE / "report" / "templates",
)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDERS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {}  # keep the given order: recall first
    environment.globals["disclaimer"] = DISCLAIMER
    environment.filters |= wording.FILTERS | phrases.FILTERS
    return environment


TEMPLATES = _environment()
