"""The README and the documents say what the code does, and their links lead somewhere."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from benchmarks.transcript import BEGIN, END, README, WIDTH, with_transcript
from models_store.contract.specs import ExperimentSpec
from service.cli.__main__ import app
from tools.settings_table import PAGE as SETTINGS
from tools.settings_table import settings_table, with_table

ROOT = README.parent
MAX_README_LINES = 120
MAX_GLOSSARY_LINES = 45
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_settings_table_is_that_of_the_code() -> None:
    text = SETTINGS.read_text()

    assert settings_table() in text, "run: .venv/bin/python -m tools.settings_table"
    assert with_table(text) == text


def test_settings_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="settings: begin"):
        with_table("# Settings\n")


def test_experiment_of_the_curl_example_is_valid() -> None:
    [posted] = re.findall(r"-d '(\{.*\})'", README.read_text())

    assert ExperimentSpec.model_validate_json(posted).dataset == "synthetic"


def test_transcript_is_between_its_markers_and_uses_verbs_that_exist() -> None:
    text = README.read_text()
    shown = text.split(BEGIN)[1].split(END)[0]
    recorded = "\n".join(line.removeprefix("    ") for line in shown.strip("\n").splitlines())
    verbs = re.findall(r"^ *\$ dermatriage (\S+)", shown, re.MULTILINE)

    assert "RECALL" in recorded, "run: make transcript"
    assert with_transcript(text, recorded) == text
    assert max(map(len, recorded.splitlines())) <= WIDTH
    assert set(verbs) <= set(get_command(app).commands)  # type: ignore[attr-defined]


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= MAX_README_LINES


def test_figures_of_the_readme_are_those_of_its_documents() -> None:
    rows = re.findall(r"^\| .* \| ([^|]*\d[^|]*) \| \[\w+\]\((docs/\w+\.md)\) \|$", README.read_text(), re.MULTILINE)
    figures = [(figure, page) for measured, page in rows for figure in re.findall(r"\d+(?:\.\d+)?", measured)]

    assert len(rows) >= 4
    assert [(figure, page) for figure, page in figures if figure not in (ROOT / page).read_text()] == []


def test_glossary_fits_on_one_page() -> None:
    assert len((ROOT / "docs" / "glossary.md").read_text().splitlines()) <= MAX_GLOSSARY_LINES


def test_readme_links_to_every_document() -> None:
    linked = {(ROOT / link).resolve() for link in _links(README)}

    assert {page for page in ROOT.glob("docs/*.md") if page not in linked} == set()
    assert {ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "docs" / "decisions"} <= linked


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    assert [link for link in _links(document) if not (document.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [("README.md", {"demo", "test", "up", "help"}), ("CONTRIBUTING.md", {"test", "test-all", "lint", "lock", "help"})],
)
def test_every_make_target_it_names_exists(name: str, expected: set[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", (ROOT / name).read_text()))

    assert expected <= named
    assert [target for target in named if f"\n{target}:" not in makefile] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_module_it_names_exists(name: str) -> None:
    rooms = "service|workers|models_store|migrations|tests|tools|benchmarks"
    named = set(re.findall(rf"`((?:{rooms})/[\w./-]*)`", (ROOT / name).read_text()))

    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def _links(document: Path) -> list[str]:
    """Targets of the links to files, without the anchors; what stands in code is no link."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(), flags=re.DOTALL)
    return re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)", text)
