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
from models_store.datasets.labels import CLASS_NAMES
from tests.diagnosing_network import diagnosing_network
from tests.service.recorded import store_predictions

Dermatriage = Callable[..., Any]
MakeModel = Callable[..., str]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """`lesions` with two images below it, one bright and so malignant, and a zip of one."""
    (tmp_path / "lesions" / "more").mkdir(parents=True)
    for name, brightness in (("lesions/a.png", 250), ("lesions/more/b.JPG", 5)):
        Image.fromarray(np.full((28, 28, 3), brightness, np.uint8)).save(tmp_path / name)
    (tmp_path / "lesions" / "notes.txt").write_text("not an image")
    with zipfile.ZipFile(tmp_path / "lesions.zip", "w") as archive:
        archive.write(tmp_path / "lesions" / "a.png", "in zip.png")
    return tmp_path


@pytest.fixture
def folder(images: Path, server: str, make_model: MakeModel) -> Path:  # noqa: ARG001
    """The images, and a server with a champion."""
    make_model(promote=True)
    return images


@pytest.fixture
def diagnosing(images: Path, server: str, make_model: MakeModel) -> Path:  # noqa: ARG001
    """The images, and a server with a champion that predicts diagnoses."""
    make_model(promote=True, network=diagnosing_network())
    return images


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("named", "classified"),
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
def test_images_are_found_and_classified_in_order(
    dermatriage: Dermatriage, named: tuple[str, ...], classified: dict[str, str]
) -> None:
    ended = dermatriage("predict", *named, "--json")

    assert ended.exit_code == 0
    assert [(answer["file"], answer["label"]) for answer in ended.json] == list(classified.items())


@pytest.mark.usefixtures("folder")
def test_csv_has_one_row_per_image_with_the_reason_of_a_refusal(dermatriage: Dermatriage) -> None:
    ended = dermatriage("predict", "lesions/a.png", "lesions/notes.txt", "--csv")

    classified, refused = csv.DictReader(io.StringIO(ended.out))
    assert ended.exit_code == 2
    assert (classified["file"], classified["label"], classified["error"]) == ("lesions/a.png", "malignant", "")
    assert float(classified["probability_malignant"]) > float(classified["threshold"])
    assert (refused["file"], refused["label"]) == ("lesions/notes.txt", "")
    assert refused["error"]


@pytest.mark.usefixtures("server", "images")
def test_table_explains_each_warning_once_beside_the_result(dermatriage: Dermatriage, make_model: MakeModel) -> None:
    make_model(promote=True, synthetic=True)

    ended = dermatriage("predict", "lesions")  # a long path would fold the codes beside it

    assert ended.out.count("synthetic_model") == 2
    assert ended.err.count("synthetic_model: ") == 1
    assert "not a medical device" in ended.err.lower()


@pytest.mark.usefixtures("diagnosing")
def test_table_gives_the_probability_of_each_diagnosis_and_names_it_once(dermatriage: Dermatriage) -> None:
    ended = dermatriage("predict", "lesions", "lesions/notes.txt")

    _, shown = ended.out.split("probability by diagnosis\n")
    header, *rows = [line.split() for line in shown.splitlines()]
    assert header == ["image", *CLASS_NAMES]
    assert [row[0] for row in rows] == ["lesions/a.png", "lesions/more/b.JPG"]
    assert [sum(map(float, row[1:])) for row in rows] == pytest.approx([1, 1], abs=4e-4)
    assert ended.err.count("mel: melanoma (malignant)") == 1
    assert "nv: melanocytic nevi\n" in ended.err


@pytest.mark.usefixtures("diagnosing")
def test_json_and_csv_give_diagnoses_that_sum_to_the_probability(dermatriage: Dermatriage) -> None:
    (answer,) = dermatriage("predict", "lesions/a.png", "--json").json
    as_csv = dermatriage("predict", "lesions/a.png", "lesions/notes.txt", "--csv")
    row, refused = csv.DictReader(io.StringIO(as_csv.out))

    assert [each["diagnosis"] for each in answer["diagnoses"]] == list(CLASS_NAMES)
    malignant = sum(float(row[name]) for name in ("akiec", "bcc", "mel"))
    assert malignant == pytest.approx(answer["probability_malignant"], abs=1e-6)
    assert {refused[name] for name in CLASS_NAMES} == {""}


@pytest.mark.usefixtures("folder")
def test_diagnoses_are_not_mentioned_if_the_model_predicts_none(dermatriage: Dermatriage) -> None:
    table, as_csv = dermatriage("predict", "lesions"), dermatriage("predict", "lesions", "--csv")

    assert "diagnosis" not in table.out + table.err
    assert as_csv.out.splitlines()[0] == "file,label,probability_malignant,threshold,model_version,warnings,error"


@pytest.mark.parametrize("named", ["nowhere.png", "*.none", "empty"])
def test_argument_without_images_is_exit_code_2(dermatriage: Dermatriage, tmp_path: Path, named: str) -> None:
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
    assert all(f"'{label}'" in ended.err for label in ("malignant", "benign"))
