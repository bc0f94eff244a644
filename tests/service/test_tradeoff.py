"""What a threshold does on validation images, by hand-counted tables and against the record."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from models_store.contract.records import Scored
from models_store.database import Database
from models_store.store import bundles
from models_store.store.storage import Storage
from models_store.tables import Model
from service.models.validation import Outcome, ValidationNotKept, outcome, read_validation, stops
from tests.finished_experiment import FinalRecord, a_final_record, a_spec, store_finished

SCORES = [0.1, 0.2, 0.2, 0.6, 0.7, 0.9]
MALIGNANT = [False, False, True, False, True, True]


@pytest.fixture(scope="module")
def final() -> FinalRecord:
    return a_final_record(images=200)


@pytest.mark.parametrize(
    ("threshold", "counts", "recall", "specificity", "missed", "extra"),
    [
        (0.0, (3, 0, 3, 0), 1.0, 0.0, 0.0, 950.0),
        (0.1, (3, 0, 3, 0), 1.0, 0.0, 0.0, 950.0),
        (0.2, (3, 0, 2, 1), 1.0, 1 / 3, 0.0, 950 * 2 / 3),
        (0.21, (2, 1, 1, 2), 2 / 3, 2 / 3, 50 / 3, 950 / 3),
        (0.65, (2, 1, 0, 3), 2 / 3, 1.0, 50 / 3, 0.0),
        (0.9, (1, 2, 0, 3), 1 / 3, 1.0, 50 * 2 / 3, 0.0),
        (1.0, (0, 3, 0, 3), 0.0, 1.0, 50.0, 0.0),
    ],
)
def test_outcome_at_a_threshold(
    threshold: float, counts: tuple[int, ...], recall: float, specificity: float, missed: float, extra: float
) -> None:
    found = outcome(SCORES, MALIGNANT, threshold)
    assert (found.found, found.missed, found.alarms, found.cleared) == counts
    assert (found.recall, found.specificity) == pytest.approx((recall, specificity))
    assert found.missed_cancers(0.05) == pytest.approx(missed)
    assert found.extra_biopsies(0.05) == pytest.approx(extra)


@pytest.mark.parametrize(("prevalence", "missed", "extra"), [(0.0, 0.0, 250.0), (0.2, 100.0, 200.0), (1.0, 500.0, 0.0)])
def test_prevalence_weighs_the_two_errors(prevalence: float, missed: float, extra: float) -> None:
    found = Outcome(found=1, missed=1, alarms=1, cleared=3)
    assert (found.missed_cancers(prevalence), found.extra_biopsies(prevalence)) == pytest.approx((missed, extra))


def test_a_class_that_is_absent_has_no_rate() -> None:
    assert outcome([0.2], [True], 0.5).specificity is None
    assert outcome([0.2], [False], 0.5).recall is None
    assert outcome([0.2], [False], 0.5).missed_cancers(0.05) is None


def test_the_slider_stands_at_every_score_and_at_the_sealed_threshold() -> None:
    assert stops(SCORES, 0.5) == [0.1, 0.2, 0.5, 0.6, 0.7, 0.9]
    assert stops(SCORES, 0.6) == [0.1, 0.2, 0.6, 0.7, 0.9]


def test_scores_of_the_bundle_give_the_recorded_figures_at_the_sealed_threshold(
    client: TestClient, database: Database, storage: Storage, tmp_path: Path, final: FinalRecord
) -> None:
    with database.write() as session:
        experiment_id = store_finished(session, storage, tmp_path / "bundle", a_spec(), final)
    validation = client.get(f"/v1/models/mdl_{experiment_id}/validation").json()
    part = validation["calibration"]
    found = outcome(part["scores"], part["malignant"], validation["threshold"])
    assert found.recall == validation["recorded"]["recall"] == final.calibration["decision"]["recall"]
    assert found.specificity == validation["recorded"]["specificity"]
    assert found.found + found.missed == validation["recorded"]["malignant_images"]
    assert len(validation["selection"]["scores"]) == len(part["scores"])


def test_a_malignant_lesion_counts_by_its_lowest_score() -> None:
    scored = Scored(scores=SCORES, malignant=MALIGNANT, lesions=[0, 1, 2, 3, 2, 4])
    assert scored.lowest_of_lesions == [0.2, 0.9]
    assert Scored(scores=SCORES, malignant=MALIGNANT).lowest_of_lesions is None


@pytest.mark.parametrize(
    "content", ["{}", "[]", "no JSON", json.dumps({"calibration": {"scores": [0.5], "malignant": []}})]
)
def test_a_bundle_without_scores_is_named_as_the_cause(
    client: TestClient, database: Database, storage: Storage, tmp_path: Path, final: FinalRecord, content: str
) -> None:
    with database.write() as session:
        experiment_id = store_finished(session, storage, tmp_path / "bundle", a_spec(), final)
        (tmp_path / "bundle" / "validation.json").write_text(content)
        store_anew(session, storage, tmp_path / "bundle", experiment_id)
    answer = client.get(f"/v1/models/mdl_{experiment_id}/validation")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/validation-not-kept")


def test_an_older_bundle_lists_no_scores(
    database: Database, storage: Storage, tmp_path: Path, final: FinalRecord
) -> None:
    with database.write() as session:
        experiment_id = store_finished(session, storage, tmp_path / "bundle", a_spec(), final)
        manifest = tmp_path / "bundle" / "manifest.json"
        listed = json.loads(manifest.read_text())
        del listed["files"]["validation.json"]
        manifest.write_text(json.dumps(listed))
        model = store_anew(session, storage, tmp_path / "bundle", experiment_id)
        with pytest.raises(ValidationNotKept, match=r"does not list validation\.json"):
            read_validation(model, storage)


def test_scores_that_the_store_lost_are_a_problem(
    client: TestClient, database: Database, storage: Storage, tmp_path: Path, final: FinalRecord
) -> None:
    with database.write() as session:
        experiment_id = store_finished(session, storage, tmp_path / "bundle", a_spec(), final)
    storage.delete(f"models/mdl_{experiment_id}/validation.json")
    answer = client.get(f"/v1/models/mdl_{experiment_id}/validation")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/bundle-altered")


def store_anew(session: Any, storage: Storage, folder: Path, experiment_id: str) -> Model:
    """Stores a changed folder as if it had been written so."""
    model: Model = session.query(Model).filter_by(experiment_id=experiment_id).one()
    if "validation.json" in (folder / "manifest.json").read_text():
        bundles.complete(folder)
    model.manifest_sha256 = bundles.sha256_of(folder / "manifest.json")
    bundles.upload(folder, storage, model.store_key)
    session.flush()
    return model
