"""Images by file, folder, pattern and zip, and their answers as table, JSON and CSV."""

import csv
import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models_store.database import Database
from tests.service.recorded import store_predictions

Dermatriage = Callable[..., Any]
MakeModel = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, server: str, make_model: MakeModel) -> Path:  # noqa: ARG001
    """`lesions` with two images below it, one bright and so malignant, and a zip of both; a champion is there."""
    make_model(promote=True)
    (tmp_path / "lesions" / "more").mkdir(parents=True)
    for name, brightness in (("lesions/a.png", 250), ("lesions/more/b.JPG", 5)):
        Image.fromarray(np.full((28, 28, 3), brightness, np.uint8)).save(tmp_path / name)
    (tmp_path / "lesions" / "notes.txt").write_text("not an image")
    with zipfile.ZipFile(tmp_path / "lesions.zip", "w") as archive:
        archive.write(tmp_path / "lesions" / "a.png", "in zip.png")
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("named", "judged"),
    [
        (("lesions",), {"lesions/a.png": "malignant", "lesions/more/b.JPG": "benign"}),
        (("lesions/*.png",), {"lesions/a.png": "malignant"}),
        (("lesions/**/*.JPG",), {"lesions/more/b.JPG": "benign"}),
        (("lesions.zip",), {"lesions.zip/in zip.png": "malignant"}),
        (
            ("lesions.zip", "lesions/more/b.JPG"),
            {"lesions.zip/in zip.png": "malignant", "lesions/more/b.JPG": "benign"},
        ),
    ],
    ids=["folder", "pattern", "deep pattern", "zip", "mixed"],
)
def test_images_are_found_and_judged_in_order(
    dermatriage: Dermatriage, named: tuple[str, ...], judged: dict[str, str]
) -> None:
    ended = dermatriage("predict", *named, "--json")

    assert ended.exit_code == 0
    assert [(answer["file"], answer["label"]) for answer in ended.json] == list(judged.items())


@pytest.mark.usefixtures("folder")
def test_csv_has_a_row_an_image_and_says_why_one_was_refused(dermatriage: Dermatriage) -> None:
    ended = dermatriage("predict", "lesions/a.png", "lesions/notes.txt", "--csv")

    judged, refused = csv.DictReader(io.StringIO(ended.out))
    assert ended.exit_code == 2
    assert (judged["file"], judged["label"], judged["error"]) == ("lesions/a.png", "malignant", "")
    assert float(judged["probability_malignant"]) > float(judged["threshold"])
    assert (refused["file"], refused["label"]) == ("lesions/notes.txt", "")
    assert refused["error"]


@pytest.mark.usefixtures("server")
def test_table_explains_each_warning_once_beside_the_result(
    dermatriage: Dermatriage, make_model: MakeModel, folder: Path
) -> None:
    make_model(promote=True, synthetic=True)

    ended = dermatriage("predict", str(folder / "lesions"))

    assert ended.out.count("synthetic_model") == 2
    assert ended.err.count("synthetic_model: ") == 1
    assert "not a medical device" in ended.err.lower()


@pytest.mark.parametrize("named", ["nowhere.png", "*.none", "empty"])
def test_nothing_to_judge_is_exit_code_2(dermatriage: Dermatriage, tmp_path: Path, named: str) -> None:
    (tmp_path / "empty").mkdir()

    ended = dermatriage("predict", named)

    assert ended.exit_code == 2
    assert f"no image at {named}" in ended.err


@pytest.mark.parametrize("name", ["=1+1.png", "+1.png", "-1.png", "@SUM(1).png", "\t1.png"])
def test_a_file_name_that_a_spreadsheet_would_compute_is_text_in_csv(
    dermatriage: Dermatriage, folder: Path, name: str
) -> None:
    (folder / "lesions" / "a.png").rename(folder / name)
    ended = dermatriage("predict", "--csv", "--", name)
    (row,) = csv.DictReader(io.StringIO(ended.out))
    assert row["file"] == f"'{name}"
    assert row["label"] == "malignant"


@pytest.mark.usefixtures("server")
def test_recorded_predictions_are_listed_newest_first_and_filtered(
    dermatriage: Dermatriage, database: Database, make_model: MakeModel
) -> None:
    version = make_model()
    store_predictions(database, [version], datetime(2026, 1, 5, 12, tzinfo=UTC))

    table = dermatriage("predictions").out
    malignant = dermatriage("predictions", "--label", "malignant", "--limit", "1", "--json").json
    early = dermatriage("predictions", "--until", "2026-01-01", "--model", version, "--json").json

    assert table.index("prd_5") < table.index("prd_0")
    assert "0.9000" in table
    assert [each["id"] for each in malignant] == ["prd_5"]
    assert early == []


@pytest.mark.usefixtures("server")
def test_unknown_label_is_exit_code_2_with_the_known_ones(dermatriage: Dermatriage) -> None:
    ended = dermatriage("predictions", "--label", "harmless")

    assert ended.exit_code == 2
    assert "malignant, benign" in ended.err
