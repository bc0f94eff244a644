"""The README says what the code does."""

import re
from pathlib import Path

from typer.main import get_command

from benchmarks.transcript import BEGIN, END, WIDTH, with_transcript
from models_store.contract.specs import ExperimentSpec
from service.cli.__main__ import app
from tools.settings_table import README, settings_table, with_table


def test_settings_table_is_that_of_the_code() -> None:
    text = README.read_text()

    assert settings_table() in text, "run: .venv/bin/python -m tools.settings_table"
    assert with_table(text) == text


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


def test_every_link_to_a_file_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text())

    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []


def test_every_target_it_names_exists() -> None:
    makefile = Path(README.parent / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z][a-z-]+)", README.read_text()))

    assert {"demo", "test", "up", "help"} <= named
    assert [target for target in named if f"\n{target}:" not in makefile] == []
