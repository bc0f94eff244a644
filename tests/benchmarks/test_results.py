"""The page of results: runs that can be stopped, paired differences, published figures, every look at a test set."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import results
from benchmarks.published import EARLIER_LOOKS, PUBLISHED
from benchmarks.results_page import Result, page, read_result
from models_store.contract.figures import Evaluation
from models_store.contract.specs import ExperimentSpec, TrialSpec
from models_store.scoring.paired import auc_difference
from tests.finished_experiment import ENVIRONMENT, a_final_record
from workers.pipeline.training.training import TrainingOutcome

EVALUATION = Evaluation.model_validate(a_final_record(people=True).evaluation)
MACHINE = {name: "x" for name in ("platform", "cpus", "backend", "backend_version", "keras")} | ENVIRONMENT
MALIGNANT = np.repeat([1, 0], [40, 160])


def a_result(preset: str, dataset: str, opened: str = "2026-01-01T10:00:00", separation: float = 1.0) -> Result:
    scores = np.random.default_rng(3).normal(MALIGNANT * separation, 1.0)
    run = {"seconds": {"train": 600.0, "finalize": 60.0}, "opened_at": opened, "environment": MACHINE}
    return Result(preset, dataset, EVALUATION, True, run, scores, MALIGNANT)


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
    other = a_result("laptop", "grouped-0_28")
    other = Result(**{**vars(other), "malignant": MALIGNANT[::-1]})
    with pytest.raises(ValueError, match="other test images"):
        page([a_result("earlier", "grouped-0_28"), other])


def test_published_figures_stand_beside_the_runs_on_the_same_split() -> None:
    written = page([a_result("laptop", "dermamnist_28"), a_result("laptop", "dermamnist_c_28")])
    assert row(written, "| the published study |")[1:4] == ["0.877", "0.916 (359/392)", "0.636 (1,026/1,613)"]
    assert (PUBLISHED.tp + PUBLISHED.fn, PUBLISHED.tn + PUBLISHED.fp) == (392, 1613)
    assert written.index("VGG16 from ImageNet") < written.index("## DermaMNIST-C") < written.index("0.825")


def test_specificity_is_shown_at_the_recall_of_the_published_study() -> None:
    # Malignant scores 0 to 39, benign ones 0.5 to 159.5: missing 33 malignant ones takes a threshold of 33
    scores = np.concatenate([np.arange(40.0), np.arange(160) + 0.5])
    result = Result(**{**vars(a_result("laptop", "dermamnist_28")), "scores": scores})

    written = page([result])

    assert "as many malignant images as the study (33), specificity is: `laptop` 0.206, the study 0.636." in written


def test_every_look_at_a_test_set_is_listed_in_order() -> None:
    written = page(
        [
            a_result("earlier", "grouped-0_28", "2026-01-02T10:00:00"),
            a_result("laptop", "grouped-0_28", "2026-01-01T09:30:00"),
        ]
    )
    first, second = written.index("| 2026-01-01 09:30"), written.index("| 2026-01-02 10:00")
    assert first < second
    assert all(look in written for look in EARLIER_LOOKS)


def test_scores_of_a_run_are_read_from_its_bundle_as_they_were_written(tmp_path: Path) -> None:
    final, bundle = a_final_record(images=200), tmp_path / "laptop" / "grouped-0_28"
    bundle.mkdir(parents=True)
    final.tested.write(bundle / "test_scores.csv")
    for name, content in (("metrics", final.evaluation), ("calibration", final.calibration), ("run", {})):
        (bundle / f"{name}.json").write_text(json.dumps(content))

    result = read_result(bundle)

    assert (result.preset, result.split, result.pixels) == ("laptop", "grouped-0", 28)
    np.testing.assert_array_equal(result.scores, final.tested.scores)
    np.testing.assert_array_equal(result.malignant, final.tested.malignant)


def test_a_result_that_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "laptop" / "grouped-0_28"
    bundle.mkdir(parents=True)
    (bundle / "run.json").write_text(json.dumps({}))
    monkeypatch.setattr(results, "Lab", None)

    results.run_preset("laptop", Path("grouped-0_28.npz"), tmp_path)

    assert [path.name for path in bundle.iterdir()] == ["run.json"]


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
    (tmp_path / "set.npz").write_bytes(b"images")
    lab = results.Lab(tmp_path, tmp_path / "set.npz")
    classic = ExperimentSpec(dataset="set", architectures=("CNN_v1",))
    for spec in (classic, classic.model_copy(update={"promote": "always"}), ExperimentSpec(dataset="set", epochs=3)):
        [trial, *_] = results.screening(spec).values()
        lab.trained("CNN_v1/W3", trial, spec, None)
    assert trained()[0] == trained()[1] != trained()[2]
