"""Is the promise kept? Thousands of calibrations on real scores, each judged on images it did not see.

    python -m benchmarks.guarantee_coverage DATA.npz [--scores var/guarantee_scores.npz] [--report docs/guarantee.md]

Trains CNN_v1 with W3 on half of train (whole lesions; the epoch is chosen on val) and scores the other half, unless
`--scores` already holds them: about three minutes on two cores, then one more for the draws. The test set is not read.
The last section of the page comes from `benchmarks.correlated_photographs`, which writes it alone as well.
Expected: the share of broken promises is at most 5 % for np_sensitivity in the first table, and the mean miss rate
of conformal_risk_control at most 1 - target; otherwise the exit status is 1.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom
from sklearn.metrics import roc_auc_score

from benchmarks import correlated_photographs, markdown
from models_store.contract.catalog import CLASS_WEIGHTS
from models_store.contract.specs import CalibrationSpec, ExperimentSpec, SelectionSpec
from models_store.datasets.evidence import miss_rate
from models_store.datasets.layout import read_split
from models_store.experiment.phases import screening
from models_store.experiment.selection import policy_for
from models_store.files import sha256_of
from models_store.scoring.scorer import Scorer
from models_store.wording import measured_percent
from workers.pipeline.backend import configure
from workers.pipeline.data import ExperimentData, hold_out
from workers.pipeline.threshold import choose_threshold
from workers.pipeline.threshold.policies import misses_in_expectation, misses_with_confidence

DRAWS = 4_000
CONFIDENCE = 0.95
TARGETS = (0.90, 0.95)
SIZES = (98, 196)

# With equal scores every promise is kept and nothing is shown.
MIN_ROC_AUC = 0.7

Floats = NDArray[np.float64]
ALLOWED: dict[str, Callable[[int, float], int]] = {
    "np_sensitivity": lambda n, target: misses_with_confidence(n, target, CONFIDENCE),
    "conformal_risk_control": misses_in_expectation,
    "naive": lambda n, target: math.floor(round(miss_rate(target) * n, 12)),
}


@dataclass(frozen=True)
class Pool:
    """Scores of images that neither trained nor selected the model, taken as the whole population."""

    malignant: Floats
    lesion: NDArray[np.int64]
    benign: Floats
    roc_auc: float
    epoch: int

    def recall_of_images(self, threshold: float) -> float:
        return float(np.mean(self.malignant >= threshold))

    def recall_of_lesions(self, threshold: float) -> float:
        """Share called malignant when a lesion, then one of its photographs, is picked at random."""
        called = np.bincount(self.lesion, weights=self.malignant >= threshold)
        return float(np.mean(called / np.bincount(self.lesion)))


@dataclass(frozen=True)
class Coverage:
    """The results of one rule over all draws; `broken` is the share whose recall fell below the target."""

    rule: str
    target: float
    sampling: str
    size: int
    broken: float
    miss_rate: float
    miss_rate_error: float
    specificity: float
    expected_broken: float | None = None


def main() -> int:
    arguments = _arguments()
    if not arguments.scores.exists():
        arguments.scores.parent.mkdir(parents=True, exist_ok=True)
        score_held_out_half(arguments.dataset, arguments.scores)
    pool = read_pool(arguments.scores)
    drawn, split = list(draw_from_population(pool)), list(split_in_two(pool))
    text = report(pool, arguments.dataset, drawn, split)
    print(text)
    if arguments.report:
        simulated = correlated_photographs.simulated()
        arguments.report.write_text(f"{text}\n{correlated_photographs.section(simulated, seed=0)}", encoding="utf-8")
    return 0 if all(map(kept, drawn)) else 1


def draw_from_population(pool: Pool) -> Iterator[Coverage]:
    """Calibrate on independent draws from the pool and evaluate on all of it, where recall is exact."""
    for size in SIZES:
        for target in TARGETS:
            for rule in ALLOWED:
                yield _images(pool, rule, target, size)
            yield _lesions(pool, target, size, with_ids=True)
            yield _lesions(pool, target, size, with_ids=False)


def split_in_two(pool: Pool) -> Iterator[Coverage]:
    """Calibrate on some images and evaluate on the others, a finite sample whose recall has an error too.

    With k misses allowed among n, the misses among m others follow a beta-binomial law: the expected share is exact.
    """
    for size in SIZES:
        others = len(pool.malignant) - size
        for target in TARGETS:
            for rule, allowed in ALLOWED.items():
                misses = allowed(size, target)
                random = np.random.default_rng(0)
                shuffled = (random.permutation(pool.malignant) for _ in range(DRAWS))
                thresholds, recalls = [], []
                for scores in shuffled:
                    thresholds.append(_threshold(rule, scores[:size], pool.benign, target))
                    recalls.append(float(np.mean(scores[size:] >= thresholds[-1])))
                expected = betabinom.sf(math.floor(miss_rate(target) * others), others, misses + 1, size - misses)
                yield _coverage(pool, rule, target, "images", size, thresholds, recalls, float(expected))


def kept(row: Coverage) -> bool:
    """Whether a rule kept what it promises, within three Monte-Carlo errors; rules that promise nothing always do."""
    if row.rule == "np_sensitivity" and row.sampling != "lesions, ids ignored":
        return row.broken <= (1 - CONFIDENCE) + 3 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / DRAWS)
    if row.rule == "conformal_risk_control":
        return row.miss_rate <= miss_rate(row.target) + 3 * row.miss_rate_error
    return True


def _images(pool: Pool, rule: str, target: float, size: int) -> Coverage:
    random = np.random.default_rng(1)
    draws = (random.choice(pool.malignant, size) for _ in range(DRAWS))
    thresholds = [_threshold(rule, draw, pool.benign, target) for draw in draws]
    recalls = [pool.recall_of_images(threshold) for threshold in thresholds]
    return _coverage(pool, rule, target, "images", size, thresholds, recalls)


def _lesions(pool: Pool, target: float, size: int, *, with_ids: bool) -> Coverage:
    random = np.random.default_rng(2)
    photographs = [pool.malignant[pool.lesion == lesion] for lesion in range(pool.lesion.max() + 1)]
    spec = CalibrationSpec(target_recall=target, confidence=CONFIDENCE)
    thresholds = []
    for _ in range(DRAWS):
        drawn = [photographs[lesion] for lesion in random.integers(len(photographs), size=size)]
        scores = np.concatenate(drawn)
        ids = np.repeat(np.arange(size), [len(scores) for scores in drawn])
        labels = np.ones(len(scores))
        thresholds.append(choose_threshold(scores, labels, spec, lesion_ids=ids if with_ids else None).threshold)
    recalls = [pool.recall_of_lesions(threshold) for threshold in thresholds]
    sampling = "lesions" if with_ids else "lesions, ids ignored"
    return _coverage(pool, "np_sensitivity", target, sampling, size, thresholds, recalls)


def _threshold(rule: str, malignant: Floats, benign: Floats, target: float) -> float:
    if rule == "naive":
        return float(np.sort(malignant)[ALLOWED["naive"](len(malignant), target)])
    scores = np.concatenate([malignant, benign])
    labels = np.repeat([1, 0], [len(malignant), len(benign)])
    spec = CalibrationSpec.model_validate({"policy": rule, "target_recall": target, "confidence": CONFIDENCE})
    return choose_threshold(scores, labels, spec).threshold


def _coverage(
    pool: Pool,
    rule: str,
    target: float,
    sampling: str,
    size: int,
    thresholds: list[float],
    recalls: list[float],
    expected: float | None = None,
) -> Coverage:
    recall = np.array(recalls)
    specificity = np.searchsorted(np.sort(pool.benign), thresholds, side="left").mean() / len(pool.benign)
    return Coverage(
        rule,
        target,
        sampling,
        size,
        broken=float(np.mean(recall < target - 1e-12)),
        miss_rate=float(1 - recall.mean()),
        miss_rate_error=float(recall.std() / math.sqrt(len(recall))),
        specificity=float(specificity),
        expected_broken=expected,
    )


def report(pool: Pool, dataset: Path, drawn: list[Coverage], split: list[Coverage]) -> str:
    """The page, in Markdown."""
    error = 3 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / DRAWS)
    verdict = "Every promise was kept." if all(map(kept, drawn)) else "**A promise was broken.**"
    return f"""# Is the promise kept?

Written by `python -m benchmarks.guarantee_coverage`; do not edit.

Scores: CNN_v1 with W3, trained on half of `train` of `{dataset.stem}` (sha256 `{sha256_of(dataset)[:12]}`), epoch
{pool.epoch} chosen on `val`. The other half, which shares no lesion with the first, is the pool:
{len(pool.malignant)} malignant images of {pool.lesion.max() + 1} lesions and {len(pool.benign):,} benign images, ROC
AUC {pool.roc_auc:.3f}. The test set is not read. {DRAWS:,} draws a row; three Monte-Carlo errors at 5 % are
{100 * error:.1f} points.

Training half and pool share no lesion, so these figures speak for new lesions.

## Calibrations drawn from the pool, judged by the whole pool

Each calibration set is drawn independently (with replacement), so the recall on the pool is the true one.
`np_sensitivity` promises that at most {100 * (1 - CONFIDENCE):.0f} % of the thresholds fall below the target,
`conformal_risk_control` that the mean miss rate is at most 1 - target. `naive` is the highest threshold that reaches
the target on the calibration set itself, and promises nothing. `lesions` draws whole lesions with all their
photographs and judges by a random photograph of a random lesion; `ids ignored` counts each photograph as independent.

{_table(drawn, expected=False)}

{verdict}

## Disjoint calibration and evaluation images

Here the evaluation images are themselves a sample, so a threshold that is right for the population can fall below the
target on them by chance: `expected` is the exact share that chance alone gives (beta-binomial).

{_table(split, expected=True)}
"""


def _table(rows: list[Coverage], *, expected: bool) -> str:
    by_chance = ("expected",) if expected else ()
    head = ("malignant", "drawn as", "target", "rule", "below target", *by_chance, "mean miss rate", "mean specificity")
    return markdown.table(head, map(_cells, rows))


def _cells(row: Coverage) -> tuple[object, ...]:
    by_chance = () if row.expected_broken is None else (measured_percent(row.expected_broken),)
    drawn = (row.size, row.sampling, f"{row.target:.2f}", row.rule)
    return (*drawn, measured_percent(row.broken), *by_chance, f"{row.miss_rate:.4f}", f"{row.specificity:.3f}")


def score_held_out_half(dataset: Path, scores: Path, seed: int = 1) -> None:
    """Train as a Phase-1 trial trains and keep the scores of the images that it never saw."""
    configure("tensorflow", seed)  # before anything imports Keras
    from workers.pipeline.export import export_onnx
    from workers.pipeline.networks.building import build_model, load_model
    from workers.pipeline.training.training import Schedule, train

    half, pool = hold_out(read_split(dataset, "train"), 0.5, seed)
    if pool.lesion_ids is None:
        raise SystemExit(f"{dataset} has no lesions file beside it, and this benchmark needs one")
    data = ExperimentData(half, read_split(dataset, "val"), pool, half.images.shape[1], False, None, None)
    trial = screening(ExperimentSpec(dataset=dataset.stem, architectures=("CNN_v1",), seed=seed))["CNN_v1/W3"]
    schedule = Schedule(30, 10, trial.batch_size, trial.learning_rate, CLASS_WEIGHTS["W3"], seed)
    model = build_model(trial, data.image_size, base_weights=None, seed=seed)
    selection = policy_for(SelectionSpec(policy="specificity_at_recall"))
    with tempfile.TemporaryDirectory() as folder:
        outcome = train(model, data, schedule, selection, Path(folder), lambda epoch: print(epoch.number, end=" "))
        if outcome.checkpoint is None or outcome.best is None:
            raise SystemExit(f"the training collapsed: {outcome.collapsed}; try another seed")
        export_onnx(load_model(outcome.checkpoint), Path(folder) / "model.onnx")
        found = Scorer(Path(folder) / "model.onnx")(pool.images)
    np.savez(scores, scores=found, malignant=pool.malignant, lesions=pool.lesion_ids, epoch=outcome.best.number)


def read_pool(path: Path) -> Pool:
    """Read what `score_held_out_half` wrote."""
    with np.load(path) as stored:
        scores, malignant = stored["scores"], stored["malignant"].astype(bool)
        lesion = np.unique(stored["lesions"][malignant], return_inverse=True)[1]
        epoch = int(stored["epoch"])
    roc_auc = float(roc_auc_score(malignant, scores))
    if roc_auc < MIN_ROC_AUC:
        raise SystemExit(f"the scores in {path} rank no better than chance (ROC AUC {roc_auc:.3f}): nothing to measure")
    return Pool(scores[malignant], lesion, scores[~malignant], roc_auc, epoch)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="an .npz in MedMNIST layout with its lesions file beside it")
    parser.add_argument("--scores", type=Path, default=Path("var/guarantee_scores.npz"), help="cache of the scores")
    parser.add_argument("--report", type=Path, help="where to write the page")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
