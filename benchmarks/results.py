"""The presets on lesions that training has never seen, and on the published splits, written to docs/results.md.

    python -m benchmarks.results run FOLDER PRESET DATASET.npz ...
    python -m benchmarks.results page

`run` does what the service does with a preset, without its database and its queue. It goes on where it was stopped: a
result that lies in FOLDER is not made again, and a network that two presets share is trained once. The data sets are
lesion-grouped splits named `grouped-SEED_PIXELS.npz`, `dermamnist_28.npz` and `dermamnist_c_28.npz`, each with its
lesions file; nothing is chosen on a test set, and every look at one is listed on the page. What the page says of a run
is kept in `benchmarks/records`.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from benchmarks.result_records import RECORDS, keep, kept_results
from benchmarks.results_page import page
from models_store.contract.catalog import PRESETS, RESIZING, input_size_of
from models_store.contract.recipes import RECIPES
from models_store.contract.specs import Checkpoint, ExperimentSpec, TrialSpec
from models_store.datasets.layout import read_split
from models_store.datasets.npz import opened, read_header
from models_store.experiment.phases import MAX_CANDIDATES, fine_tuning, screening
from models_store.experiment.selection import policy_for, ranked
from models_store.files import replacing, sha256_of
from workers.pipeline import backend
from workers.pipeline.data import SealedTestSet
from workers.pipeline.ensemble import Network
from workers.pipeline.train_and_finalize import Candidate, finalize, train_trial
from workers.pipeline.training.training import TrainingOutcome

# The preset `laptop` as it was at commit 2339223, against which today's presets are measured.
EARLIER = {
    "name": "earlier",
    "architectures": ["CNN_v1"],
    "class_weights": ["W3"],
    "epochs": 30,
    "patience": 10,
    "selection": {"policy": "specificity_at_recall"},
}
MEASURED = {"earlier": EARLIER} | {name: PRESETS[name] for name in ("laptop", "best")}


class Lab:
    """Trains the networks of experiments on one data set, each network once."""

    def __init__(self, folder: Path, dataset: Path) -> None:
        self.folder = folder / "trials"
        self.dataset = dataset
        self.dataset_sha256 = sha256_of(dataset)
        with opened(dataset) as archive:
            self.image_size = read_header(dataset, archive, "train_images").shape[1]
        self.seconds = 0.0

    def trained(self, name: str, trial: TrialSpec, spec: ExperimentSpec, start: Path | None) -> TrainingOutcome:
        """What the training came to. A folder that holds a finished one gives its outcome without training."""
        folder = self.folder / self._key(trial, spec)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = train_trial(
            trial,
            spec,
            self.dataset,
            folder,
            lambda epoch: print(f"{self.dataset.stem} {name}: epoch {epoch.number}, {epoch.seconds:.0f} s", flush=True),
            weights_root=None,
            checkpoint=start,
        )
        self.seconds += sum(epoch.seconds for epoch in outcome.epochs)
        return outcome

    def _key(self, trial: TrialSpec, spec: ExperimentSpec) -> str:
        asked = spec.model_dump(mode="json", include={"epochs", "patience", "selection", "calibration", "seed"})
        recipe = asdict(RECIPES[trial.recipe])
        whole = [self._at_its_input_size(trial).model_dump(mode="json"), asked, recipe, self.dataset_sha256]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]

    def _at_its_input_size(self, trial: TrialSpec) -> TrialSpec:
        """Names the input size that `laptop` leaves to the network and `best` states: the same network is trained."""
        if trial.architecture not in RESIZING:
            return trial
        size = input_size_of(trial.architecture, trial.input_size, self.image_size)
        return trial.model_copy(update={"input_size": size})


def run_preset(preset: str, dataset: Path, folder: Path, *, open_test_set: bool = True) -> None:
    """Run the three phases and leave the bundle as `folder/PRESET/DATASET`, with `run.json` written last.

    Without `open_test_set` only the networks are trained, for a later run to find.
    """
    bundle = folder / preset / dataset.stem
    if (bundle / "run.json").exists():
        return
    spec = ExperimentSpec.model_validate({**MEASURED[preset], "dataset": dataset.stem})
    lab, networks, metrics = Lab(folder, dataset), {}, {}

    def train_all(trials: dict[str, TrialSpec], start: Path | None) -> list[str]:
        for name, trial in trials.items():
            outcome = lab.trained(name, trial, spec, start)
            if outcome.best is not None and outcome.checkpoint is not None:
                networks[name], metrics[name] = Network(name, trial, outcome.checkpoint), outcome.best.metrics
        return ranked(policy_for(spec.selection), metrics)

    order = train_all(screening(spec), None)
    if spec.strategies:
        best = networks[order[0]]
        checkpoint = Checkpoint(trial_id=best.name, key=best.name, sha256=sha256_of(best.checkpoint))
        order = train_all(fine_tuning(spec, best.trial, checkpoint), best.checkpoint)
    if not open_test_set:
        return
    started = time.perf_counter()
    bundle.mkdir(parents=True, exist_ok=True)
    winner, *others = [networks[name] for name in order[: MAX_CANDIDATES + 1]]
    candidate = Candidate(winner.name, winner.trial, winner.checkpoint, f"benchmark-{preset}", others)
    machine = backend.environment()
    model = finalize(candidate, spec, dataset, SealedTestSet(dataset), bundle, environment=machine)
    took = {"train": lab.seconds, "finalize": time.perf_counter() - started}
    run = {"seconds": took, "opened_at": model.opening.opened_at.isoformat(), "environment": machine}
    with replacing(bundle / "run.json") as beside:
        beside.write_text(json.dumps(run, indent=1), encoding="utf-8")


def _lesions_of(dataset: Path) -> NDArray[Any]:
    """Ids (N,) of the lesions that the test images show. The run has opened this test set already."""
    ids = read_split(dataset, "test").lesion_ids
    if ids is None:
        raise SystemExit(f"{dataset} has no lesions file; these runs are compared by lesion")
    return ids


def current_page(records: Path) -> str:
    """docs/results.md of what was measured so far."""
    return page(kept_results(records))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description="Measure the presets.")
    steps = parser.add_subparsers(dest="step", required=True)
    run = steps.add_parser("run")
    run.add_argument("folder", type=Path)
    run.add_argument("preset", choices=MEASURED)
    run.add_argument("datasets", type=Path, nargs="+")
    run.add_argument("--train-only", action="store_true", help="leave the test sets closed")
    write = steps.add_parser("page")
    write.add_argument("--out", type=Path, default=Path("docs/results.md"))
    for step in (run, write):
        step.add_argument("--records", type=Path, default=RECORDS, help="where the repository keeps what was measured")
    options = parser.parse_args(arguments)
    if options.step == "run":
        backend.configure("tensorflow", seed=0)
        for dataset in options.datasets:
            run_preset(options.preset, dataset, options.folder, open_test_set=not options.train_only)
            if not options.train_only:
                bundle = options.folder / options.preset / dataset.stem
                keep(bundle, MEASURED[options.preset], options.records, _lesions_of(dataset))
    else:
        options.out.write_text(current_page(options.records), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
