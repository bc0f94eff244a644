"""The page of results: runs that can be stopped, paired differences, published figures, every look at a test set."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import results
from benchmarks.published import EARLIER_LOOKS, PUBLISHED
from benchmarks.result_records import RECORDS, Result, keep, kept_results
from benchmarks.results_page import page
from models_store.contract.catalog import PRESETS
from models_store.contract.figures import Confusion
from models_store.contract.specs import ExperimentSpec, TrialSpec
from models_store.scoring.paired import auc_difference
from tests.finished_experiment import ENVIRONMENT, a_final_record
from workers.pipeline.training.training import TrainingOutcome

MACHINE = {name: "x" for name in ("platform", "cpus", "backend", "backend_version", "keras")} | ENVIRONMENT
MALIGNANT = np.repeat([1, 0], [40, 160])


def a_result(preset: str, dataset: str, *, separation: float = 1.0, **changes: object) -> Result:
    scores = np.random.default_rng(3).normal(MALIGNANT * separation, 1.0)
    facts = {
        "preset": preset,
        "dataset": dataset,
        "settings": PRESETS.get(preset, {}),
        "opened_at": "2026-01-01T10:00:00",
        "environment": MACHINE,
        "seconds": {"train": 600.0, "finalize": 60.0},
        "guarantee_holds": True,
        "threshold": 0.0,
        "roc_auc": 0.9,
        "recall": 0.95,
        "specificity": 0.5,
        "confusion": Confusion(tp=38, fn=2, tn=80, fp=80),
        "lesion_recall": {"found": 28, "lesions": 30, "recall": 28 / 30, "interval": {"low": 0.779, "high": 0.992}},
        "macro_auc": 0.94,
        "accuracy": None,
        "labels_sha256": "0" * 64,
        "malignant_scores": scores[:40].tolist(),
        "benign_scores": scores[40:].tolist(),
    }
    return Result.model_validate(facts | changes)


def row(written: str, start: str) -> list[str]:
    [line] = [line for line in written.splitlines() if line.startswith(start)]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_preset_is_held_against_the_earlier_one_on_the_same_images() -> None:
    earlier = [a_result("earlier", f"grouped-{seed}_28") for seed in range(2)]
    laptop = [a_result("laptop", f"grouped-{seed}_64", separation=2.0) for seed in range(2)]

    written = page([*laptop, *earlier])

    difference = auc_difference(earlier[0].scores, laptop[0].scores, MALIGNANT).value
    cells = row(written[written.index("## New lesions, 64 pixels") :], "| `laptop` | ROC AUC |")
    assert cells[3].startswith(f"{difference:+.3f} (")
    assert cells[4] == f"{difference:+.3f}, {difference:+.3f}"
    assert row(written, "| `earlier` | ROC AUC |")[3] == "–"


def test_other_test_images_are_not_compared() -> None:
    other = a_result("laptop", "grouped-0_28", labels_sha256="1" * 64)
    with pytest.raises(ValueError, match="other test images"):
        page([a_result("earlier", "grouped-0_28"), other])


def test_published_figures_stand_beside_the_runs_on_the_same_split() -> None:
    written = page([a_result("laptop", "dermamnist_28"), a_result("laptop", "dermamnist_c_28")])
    assert row(written, "| the published study |")[1:4] == ["0.877", "0.916 (359/392)", "0.636 (1,026/1,613)"]
    assert (PUBLISHED.tp + PUBLISHED.fn, PUBLISHED.tn + PUBLISHED.fp) == (392, 1613)
    assert written.index("VGG16 from ImageNet") < written.index("## DermaMNIST-C") < written.index("0.825")


def test_specificity_is_shown_at_the_recall_of_the_published_study() -> None:
    # Malignant scores 0 to 39, benign ones 0.5 to 159.5: missing 33 malignant ones takes a threshold of 33
    scores = {"malignant_scores": np.arange(40.0).tolist(), "benign_scores": (np.arange(160) + 0.5).tolist()}
    result = a_result("laptop", "dermamnist_28", **scores)

    written = page([result])

    assert "as many malignant images as the study (33), specificity is: `laptop` 0.206, the study 0.636." in written


def test_every_look_at_a_test_set_is_listed_in_order() -> None:
    written = page(
        [
            a_result("earlier", "grouped-0_28", opened_at="2026-01-02T10:00:00"),
            a_result("laptop", "grouped-0_28", opened_at="2026-01-01T09:30:00"),
        ]
    )
    first, second = written.index("| 2026-01-01 09:30"), written.index("| 2026-01-02 10:00")
    assert first < second
    assert all(look in written for look in EARLIER_LOOKS)


def test_what_the_page_says_of_a_run_is_kept_without_its_bundle(tmp_path: Path) -> None:
    final, bundle = a_final_record(images=200), tmp_path / "laptop" / "grouped-0_28"
    bundle.mkdir(parents=True)
    final.tested.write(bundle / "test_scores.csv")
    run = {"seconds": {"train": 1.0}, "opened_at": "2026-01-01T10:00:00", "environment": MACHINE}
    for name, content in (("metrics", final.evaluation), ("calibration", final.calibration), ("run", run)):
        (bundle / f"{name}.json").write_text(json.dumps(content))

    lesion_ids = np.arange(len(final.tested.scores)) // 2
    keep(bundle, PRESETS["laptop"], tmp_path / "records", lesion_ids)

    [result] = kept_results(tmp_path / "records")
    assert (result.preset, result.split, result.pixels) == ("laptop", "grouped-0", 28)
    assert result.roc_auc == final.evaluation["roc_auc"]
    malignant = final.tested.malignant
    np.testing.assert_allclose(result.malignant_scores, final.tested.scores[malignant], atol=1e-7)
    assert result.lesion_recall.lesions == len(np.unique(lesion_ids[malignant]))
    np.testing.assert_allclose(result.benign_scores, final.tested.scores[~malignant], atol=1e-7)


def test_a_promise_that_the_test_set_contradicts_is_named() -> None:
    few = {"found": 20, "lesions": 30, "recall": 20 / 30, "interval": {"low": 0.472, "high": 0.827}}
    written = page([a_result("best", "grouped-0_28", lesion_recall=few), a_result("laptop", "grouped-0_28")])
    assert row(written, "| grouped-0 | `best`")[5] == "0.667 (20/30)"
    assert "below the promised 0.90 for `best` on grouped-0, 0.472 to 0.827. A promise" in written
    void = a_result("best", "grouped-0_28", lesion_recall=few, guarantee_holds=False)
    assert "0.667 (20/30), no promise" in page([void])
    assert all("below the promised" not in page([each]) for each in (void, a_result("laptop", "grouped-0_28")))


def test_a_preset_that_has_changed_since_is_marked() -> None:
    changed = a_result("laptop", "grouped-0_28", settings={**PRESETS["laptop"], "epochs": 1})
    written = page([changed, a_result("laptop", "grouped-1_28")])
    assert "| grouped-0 | `laptop` as it was |" in written
    assert "| grouped-1 | `laptop` |" in written


def test_the_page_in_the_documents_is_what_the_kept_records_say() -> None:
    assert Path("docs/results.md").read_text(encoding="utf-8") == results.current_page(RECORDS)


def test_figures_of_a_kept_record_follow_from_its_scores() -> None:
    for result in kept_results(RECORDS):
        tp, fp = (int(result.called[result.malignant == malignant].sum()) for malignant in (1, 0))
        assert (tp, fp) == (result.confusion.tp, result.confusion.fp), result.dataset
        assert result.roc_auc == pytest.approx(roc_auc_score(result.malignant, result.scores), abs=1e-6)


def test_a_result_that_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "laptop" / "grouped-0_28"
    bundle.mkdir(parents=True)
    (bundle / "run.json").write_text(json.dumps({}))
    monkeypatch.setattr(results, "Lab", None)

    results.run_preset("laptop", Path("grouped-0_28.npz"), tmp_path)

    assert [path.name for path in bundle.iterdir()] == ["run.json"]


def an_image_file(folder: Path, *, pixels: int) -> Path:
    np.savez(folder / "set.npz", train_images=np.zeros((1, pixels, pixels, 3), dtype=np.uint8))
    return folder / "set.npz"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """The folders in which networks were trained, by a double that trains nothing."""
    folders: list[Path] = []

    def train_trial(_: TrialSpec, __: ExperimentSpec, ___: Path, folder: Path, ____: object, **_____: object) -> object:
        folders.append(folder)
        return TrainingOutcome((), None, "nothing was trained", None, None, "epochs")

    monkeypatch.setattr(results, "train_trial", train_trial)
    return lambda: folders


def test_two_presets_share_a_network_and_another_recipe_does_not(
    tmp_path: Path, trained: Callable[[], list[Path]]
) -> None:
    lab = results.Lab(tmp_path, an_image_file(tmp_path, pixels=28))
    classic = ExperimentSpec(dataset="set", architectures=("CNN_v1",))
    for spec in (classic, classic.model_copy(update={"promote": "always"}), ExperimentSpec(dataset="set", epochs=3)):
        [trial, *_] = results.screening(spec).values()
        lab.trained("CNN_v1/W3", trial, spec, None)
    assert trained()[0] == trained()[1] != trained()[2]


@pytest.mark.parametrize(("pixels", "shared"), [(28, [True, True]), (64, [True, False])])
def test_best_trains_no_network_of_laptop_again(
    tmp_path: Path, trained: Callable[[], list[Path]], pixels: int, shared: list[bool]
) -> None:
    dataset = an_image_file(tmp_path, pixels=pixels)
    for preset in ("laptop", "best"):
        results.run_preset(preset, dataset, tmp_path, open_test_set=False)
    of_laptop, of_best = trained()[:2], trained()[2:]
    assert len(of_best) == 3
    assert [folder in of_best for folder in of_laptop] == shared
