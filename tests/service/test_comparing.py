"""Two models on one test set: what each difference amounts to, and the reasons why there is none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.scoring.paired import auc_difference, proportion_difference
from models_store.store import bundles
from models_store.store.storage import Storage
from models_store.tables import Model
from service.models.comparing import PairedTest
from tests.finished_experiment import FinalRecord, a_final_record, a_spec, store_finished

Store = Callable[[FinalRecord], str]


@pytest.fixture
def store(database: Database, storage: Storage, tmp_path: Path) -> Store:
    """Stores a finished experiment and returns the version of its model."""
    made: list[str] = []

    def one(final: FinalRecord) -> str:
        with database.write() as session:
            folder = tmp_path / f"bundle{len(made)}"
            made.append(f"mdl_{store_finished(session, storage, folder, a_spec(), final)}")
        return made[-1]

    return one


def compared(client: TestClient, a: str, b: str) -> Any:
    answer = client.get("/v1/models/compare", params={"a": a, "b": b})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_differences_are_those_of_the_kept_test_scores(client: TestClient, store: Store) -> None:
    final = a_final_record(images=200)
    malignant, threshold = final.tested.malignant, final.calibration["threshold"]
    scores = np.random.default_rng(1).random(200)
    weaker = replace(final, tested=replace(final.tested, scores=scores))

    found = compared(client, store(final), store(weaker))

    assert (found["same_test_set"], found["not_tested"]) == (True, None)
    recall, specificity, area = found["differences"]
    calls = final.tested.scores >= threshold, scores >= threshold
    expected = proportion_difference(*(call[malignant] for call in calls))
    assert [recall[name] for name in ("value", "low", "high", "p_value")] == pytest.approx(
        [expected.value, expected.low, expected.high, expected.p_value]
    )
    assert recall["images"] == malignant.sum()
    assert recall["only_a"] == (calls[0] & ~calls[1])[malignant].sum()
    assert specificity["value"] == pytest.approx(np.mean(~calls[1][~malignant]) - np.mean(~calls[0][~malignant]))
    assert area["value"] == pytest.approx(auc_difference(final.tested.scores, scores, malignant).value)
    assert (area["only_a"], area["only_b"], area["shown"]) == (None, None, True)


def test_a_bundle_without_test_scores_is_named_as_the_reason(
    client: TestClient, store: Store, database: Database, storage: Storage, tmp_path: Path
) -> None:
    # Given a model whose bundle is from before test scores were kept
    older, newer = store(a_final_record(images=200)), store(a_final_record(images=200))
    files = bundles.read_json(tmp_path / "bundle0" / "manifest.json")["files"]
    kept = {name: sha256 for name, sha256 in files.items() if name != bundles.TEST_SCORES}
    replace_manifest(database, storage, tmp_path / "manifest.json", older, kept)
    # When it is compared with a newer one
    found = compared(client, older, newer)
    # Then the answer names the model that prevents the test, and the remedy
    assert found["differences"] == []
    assert f"the bundle of A ({older}) keeps no score of each test image" in found["not_tested"]
    assert "Run its experiment again" in found["not_tested"]


def test_test_scores_of_another_version_are_not_called_missing(
    client: TestClient, store: Store, database: Database, storage: Storage, tmp_path: Path
) -> None:
    other, newer = store(a_final_record(images=200)), store(a_final_record(images=200))
    scores = tmp_path / bundles.TEST_SCORES
    scores.write_text("image\n0\n")
    storage.put_file(scores, f"models/{other}/{bundles.TEST_SCORES}")
    files = bundles.read_json(tmp_path / "bundle0" / "manifest.json")["files"]
    changed = files | {bundles.TEST_SCORES: bundles.sha256_of(scores)}
    replace_manifest(database, storage, tmp_path / "manifest.json", other, changed)
    reason = compared(client, other, newer)["not_tested"]
    assert reason.startswith(f"The test scores of A ({other}) cannot be read: ")
    assert "of another version" in reason


def replace_manifest(database: Database, storage: Storage, manifest: Path, version: str, files: dict[str, str]) -> None:
    bundles.write_json(manifest, {"files": files})
    storage.put_file(manifest, f"models/{version}/manifest.json")
    with database.write() as session:
        session.get_one(Model, version).manifest_sha256 = bundles.sha256_of(manifest)


def test_an_unknown_model_is_not_found(client: TestClient) -> None:
    assert client.get("/v1/models/compare", params={"a": "mdl_0", "b": "mdl_1"}).status_code == 404


@pytest.mark.parametrize(
    ("gained", "lost", "beginning"),
    [
        (21, 9, "B finds 12 more of the 392 malignant images than A (difference +0.031, "),
        (9, 21, "B finds 12 fewer of the 392 malignant images than A (difference -0.031, "),
        (9, 9, "B finds as many of the 392 malignant images as A (difference +0.000, "),
    ],
)
def test_a_sentence_states_what_follows_for_recall(gained: int, lost: int, beginning: str) -> None:
    a = np.array([True] * lost + [False] * gained + [True] * (392 - gained - lost))
    b = np.array([False] * lost + [True] * gained + [True] * (392 - gained - lost))
    test = PairedTest("recall", 392, lost, gained, proportion_difference(a, b))
    assert test.sentence.startswith(beginning)
    assert test.sentence.endswith("more than chance explains." if gained != lost else "no difference can be shown.")


def test_a_difference_counts_as_shown_only_where_interval_and_test_agree() -> None:
    # Given five images that B alone finds: the interval excludes 0, and McNemar's exact test gives p = 0.0625
    a, b = np.array([False] * 5 + [True] * 387), np.ones(392, dtype=bool)
    test = PairedTest("recall", 392, 0, 5, proportion_difference(a, b))
    assert test.difference.low > 0
    assert test.difference.p_value > 0.05
    assert test.sentence.endswith("no difference can be shown.")
