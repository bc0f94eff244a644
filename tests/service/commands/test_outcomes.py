"""Outcomes from the command line, one by one and from a CSV file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_store.database import Database
from tests.verified_predictions import store_verified

Dermatriage = Callable[..., Any]
MakeModel = Callable[..., str]
HEADER = "prediction_id,outcome,verified_by,verified_at,note\n"


@pytest.fixture
def predictions(server: str, database: Database, make_model: MakeModel) -> list[str]:  # noqa: ARG001
    return store_verified(database, make_model(), [("benign", None, 3)])


def test_outcome_is_recorded_once_and_corrected_on_request(dermatriage: Dermatriage, predictions: list[str]) -> None:
    sent = ("outcome", predictions[0], "malignant", "--by", "histopathology", "--at", "2026-01-19")
    assert dermatriage(*sent).out == f"{predictions[0]} is malignant (outcome 1).\n"
    assert dermatriage(*sent, "--json").json["number"] == 1

    other = ("outcome", predictions[0], "benign", "--by", "second reading")
    refused = dermatriage(*other)
    assert refused.exit_code == 2
    assert "outcome 1 of" in refused.err
    assert dermatriage(*other, "--correct", "--json").json["number"] == 2
    assert dermatriage(*other, "--correct", "--json").json["number"] == 2


def test_file_can_be_imported_repeatedly(dermatriage: Dermatriage, predictions: list[str], tmp_path: Path) -> None:
    file = tmp_path / "outcomes.csv"
    rows = [f"{each},benign,follow-up,2026-01-19T08:00:00+01:00,no change\n" for each in predictions]
    file.write_text("\ufeff" + HEADER + "".join(rows), encoding="utf-8")
    for _ in range(2):
        ended = dermatriage("outcomes", str(file))
        assert (ended.exit_code, ended.out) == (0, "3 of 3 outcomes are recorded.\n")


def test_refused_rows_are_listed_and_the_others_recorded(
    dermatriage: Dermatriage, predictions: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "outcomes.csv"
    dermatriage("outcome", predictions[0], "malignant", "--by", "histopathology")
    file.write_text(HEADER + "".join(f"{each},benign,x,2026-01-19,\n" for each in (*predictions[:2], "prd_none")))
    ended = dermatriage("outcomes", str(file))
    assert ended.exit_code == 2
    assert "1 of 3 outcomes are recorded." in ended.out
    assert predictions[0] in ended.out
    assert "there is no prediction prd_none" in ended.out
    assert "2 of 3" in dermatriage("outcomes", str(file), "--correct").out


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("prediction_id,outcome\n", "lacks the columns verified_by, verified_at"),
        (HEADER + "prd_1,benign,x,2026-01-19,\nprd_2,unclear,x,2026-01-19,\n", "line 3: outcome"),
        (HEADER + "prd_1,benign,x,yesterday,\n", "line 2: verified_at"),
        (HEADER + "prd_1,benign,x\n", "line 2: verified_at"),
        (HEADER + "prd_1,benign,x,2026-01-19,ann@example.org\n", "line 2: note"),
    ],
)
def test_file_that_cannot_be_used_sends_nothing(
    dermatriage: Dermatriage, tmp_path: Path, text: str, finding: str
) -> None:
    (tmp_path / "outcomes.csv").write_text(text)
    ended = dermatriage("outcomes", "outcomes.csv")
    assert ended.exit_code == 2
    assert finding in ended.err.replace("\n", " ")
