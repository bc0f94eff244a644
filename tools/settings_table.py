"""``python -m tools.settings_table``: writes the table of settings into docs/settings.md, from `Settings` itself."""

from pathlib import Path

from pydantic.fields import FieldInfo

from models_store.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


def settings_table() -> str:
    """Markdown with one row for each setting, in the order of the class."""
    rows = [f"| `{name.upper()}` | {_default(field)} | {field.description} |" for name, field in _fields()]
    return "\n".join(("| setting | default | meaning |", "|---|---|---|", *rows))


def with_table(page: str) -> str:
    """The text of the page with a new table between its two markers. Raises ValueError if a marker is missing."""
    before, _, rest = page.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE.name} needs the lines {BEGIN} and {END} around the table of settings")
    return f"{before}{BEGIN}\n{settings_table()}\n{END}{after}"


def _fields() -> list[tuple[str, FieldInfo]]:
    return list(Settings.model_fields.items())


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "the user's cache folder"
    return "none" if field.default in (None, "") else f"`{field.default}`"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
