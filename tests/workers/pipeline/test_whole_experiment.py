"""The three phases on a small synthetic set, in order: the test set stays sealed until its only opening."""

import csv
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models_store.contract.outcomes import Epoch
from models_store.contract.records import TestSetAlreadyOpened
from models_store.contract.specs import CalibrationSpec, ExperimentSpec, FinalModelSpec, SelectionSpec
from models_store.datasets.layout import DatasetInvalid, read_split
from models_store.datasets.synthetic import generate
from models_store.experiment import phases
from models_store.scoring.probability_calibration import ProbabilityCalibration
from models_store.scoring.scorer import Scorer
from models_store.store import bundles
from models_store.store.signatures import Signer, Trusted, make_keys
from workers.pipeline.data import Opening, SealedTestSet
from workers.pipeline.ensemble import Network
from workers.pipeline.train_and_finalize import Candidate, finalize, train_trial

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SPEC = ExperimentSpec(
    dataset="synthetic",
    architectures=("CNN_v1",),
    strategies=("LowLR",),
    epochs=2,
    selection=SelectionSpec(min_specificity=0.0),
    calibration=CalibrationSpec(target_recall=0.6, confidence=0.8),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "small.npz"
    generate(path, image_size=16, counts=(280, 140, 140))
    return path


@pytest.fixture(scope="module")
def damaged(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same file, with damaged pixels of its test images: reading one of them fails its checksum."""
    path = tmp_path_factory.mktemp("damaged") / "small.npz"
    content = bytearray(dataset.read_bytes())
    with zipfile.ZipFile(dataset) as archive:
        member = archive.getinfo("test_images.npy")
    middle = member.header_offset + member.compress_size // 2
    content[middle : middle + 64] = bytes(byte ^ 0xFF for byte in content[middle : middle + 64])
    path.write_bytes(content)
    lesions = dataset.with_name("small_lesions.csv")
    path.with_name(lesions.name).write_bytes(lesions.read_bytes())
    return path


@pytest.fixture(scope="module")
def candidate(damaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """The winner of Phases 1 and 2, trained on the damaged file, whose test images nothing before can have read."""
    folder = tmp_path_factory.mktemp("trials")
    epochs: list[Epoch] = []
    [(name, first)] = phases.screening(SPEC).items()
    screened = train_trial(first, SPEC, damaged, folder / "1", epochs.append, weights_root=None)
    assert screened.checkpoint is not None
    second = first.model_copy(update={"strategy": "LowLR", "learning_rate": 0.00005})
    tuned = train_trial(
        second, SPEC, damaged, folder / "2", epochs.append, weights_root=None, checkpoint=screened.checkpoint
    )
    assert tuned.checkpoint is not None
    assert [epoch.number for epoch in epochs] == [1, 2, 1, 2]
    return Candidate(name, second, tuned.checkpoint, "exp_1")


def test_reading_damaged_test_images_fails(damaged: Path) -> None:
    with pytest.raises(DatasetInvalid):
        read_split(damaged, "test")


def test_model_and_threshold_are_frozen_before_the_test_set_is_touched(
    candidate: Candidate, damaged: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetInvalid, match="test_images"):
        finalize(candidate, SPEC, damaged, SealedTestSet(damaged), tmp_path)

    assert (tmp_path / "frozen.json").exists()
    assert not (tmp_path / "metrics.json").exists()


def test_recorded_figures_are_those_of_the_bundle_that_will_serve(
    candidate: Candidate, dataset: Path, tmp_path: Path
) -> None:
    # Given the final model of an experiment
    sealed = SealedTestSet(dataset)
    final = finalize(candidate, SPEC, dataset, sealed, tmp_path)

    # When its ONNX file and its calibration alone decide on the test images
    test = read_split(dataset, "test")
    calibration = bundles.read_json(tmp_path / "calibration.json")
    scorer = Scorer(tmp_path / "model.onnx", ProbabilityCalibration(**calibration["probability_calibration"]))
    called = scorer(test.images) >= calibration["threshold"]

    # Then they give the recorded confusion matrix
    malignant = test.malignant.astype(bool)
    confusion = final.evaluation.model_dump()["confusion"]
    assert confusion == {
        "tn": int(np.sum(~called & ~malignant)),
        "fp": int(np.sum(called & ~malignant)),
        "fn": int(np.sum(~called & malignant)),
        "tp": int(np.sum(called & malignant)),
    }
    assert any("synthetic" in warning for warning in final.warnings)
    with pytest.raises(TestSetAlreadyOpened):
        sealed.open(Opening(final.about.experiment_id, final.opening.bundle_sha256, final.opening.threshold))


def test_an_ensemble_with_eight_views_is_one_graph_that_answers_as_recorded(
    candidate: Candidate, dataset: Path, tmp_path: Path
) -> None:
    # Given a winner, another network behind it, and a spec that asks for both
    spec = SPEC.model_copy(update={"final": FinalModelSpec(views=8, ensemble=2)})
    both = replace(candidate, others=[Network("another", candidate.trial, candidate.checkpoint)])

    # When they are finalized
    (tmp_path / "bundle").mkdir()
    final = finalize(both, spec, dataset, SealedTestSet(dataset), tmp_path / "bundle")

    # Then the bundle names both, holds both for further training, and its graph gives the recorded scores
    folder = tmp_path / "bundle"
    assert [member.name for member in final.about.members] == [candidate.name, "another"]
    assert final.about.views == 8
    assert "model-2.keras" in bundles.read_json(folder / "manifest.json")["files"]
    card = (folder / "card.md").read_text()
    assert "2 networks are averaged" in card
    assert final.answer is not None
    assert final.answer.milliseconds > 0
    assert f"**{final.answer.milliseconds:.3g} ms** for one image" in card
    assert "It runs a network 16 times (8 views, 2 networks)." in card
    test = read_split(dataset, "test")
    with (folder / "test_scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["probability_malignant"]) for row in rows] == Scorer(folder / "model.onnx")(test.images).tolist()
    assert [int(row["malignant"]) for row in rows] == test.malignant.tolist()


def test_a_network_of_the_modern_recipe_serves_seven_diagnoses_that_are_on_record(
    dataset: Path, tmp_path: Path
) -> None:
    # Given a winner that predicts diagnoses, and a data set that records groups of patients
    spec = SPEC.model_copy(update={"recipe": "modern", "architectures": ("ConvNet_v1",)})
    [(name, trial)] = phases.screening(spec).items()
    trained = train_trial(trial, spec, dataset, tmp_path, lambda _epoch: None, weights_root=None)
    assert trained.checkpoint is not None
    path = tmp_path / "grouped.npz"
    path.write_bytes(dataset.read_bytes())
    lesions = dataset.with_name("small_lesions.csv").read_text()
    path.with_name("grouped_lesions.csv").write_text(lesions)
    places = [line.split(",")[:2] for line in lesions.splitlines()[1:]]
    rows = [f"{split},{index},{'left' if int(index) % 2 else 'right'}" for split, index in places]
    path.with_name("grouped_patients.csv").write_text("\n".join(["split,index,side", *rows]) + "\n")

    # When it is finalized
    (tmp_path / "bundle").mkdir()
    candidate = Candidate(name, trial, trained.checkpoint, "exp_2")
    final = finalize(candidate, spec, path, SealedTestSet(path), tmp_path / "bundle")

    # Then the served diagnoses give the recorded table, and the groups are on record
    test = read_split(path, "test")
    diagnoses = Scorer(tmp_path / "bundle" / "model.onnx").judge(test.images).diagnoses
    assert diagnoses is not None
    assert final.evaluation.seven is not None
    assert final.evaluation.seven.accuracy == np.mean(diagnoses.argmax(axis=1) == test.labels)
    assert sum(map(sum, final.evaluation.seven.confusion)) == len(test.labels)
    assert [grouping.column for grouping in final.evaluation.groupings] == ["side"]
    assert {group.group for group in final.evaluation.groupings[0].groups} == {"left", "right"}


def test_finalizing_again_after_a_crash_gives_the_same_threshold_and_figures(
    candidate: Candidate, dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "again").mkdir()
    make_keys(tmp_path / "private.pem", tmp_path / "public.pem")
    signer = Signer.of(tmp_path / "private.pem")
    first = finalize(candidate, SPEC, dataset, SealedTestSet(dataset), tmp_path / "first", signer=signer)
    again = finalize(candidate, SPEC, dataset, SealedTestSet(dataset), tmp_path / "again")

    assert again.evaluation == first.evaluation
    assert again.opening.threshold == first.opening.threshold
    assert (first.signed_by, again.signed_by) == (signer.key_id, None)
    assert bundles.verify(tmp_path / "first", Trusted.of(tmp_path / "public.pem")) == first.manifest_sha256
