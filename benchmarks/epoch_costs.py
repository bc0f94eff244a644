"""What does an epoch of each architecture cost on this machine? The dashboard's estimate starts from it.

    python -m benchmarks.epoch_costs [--images 224]

Trains each of the thirteen for two epochs on a few generated images of 28x28, with random weights, and takes the second
epoch, in which nothing is compiled any more: its processor seconds, spread evenly over the cores, so that whatever else
the machine does changes little. About five minutes on two cores. Writes service/experiments/costs.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from models_store.contract.catalog import ARCHITECTURES, CLASS_WEIGHTS
from models_store.contract.specs import CalibrationSpec, ExperimentSpec, SelectionSpec
from models_store.datasets.synthetic import generate
from workers.pipeline.data import ExperimentData, experiment_data

REPORT = Path("service/experiments/costs.json")
IMAGE_SIZE = 28
SEED = 42


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=224)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "few.npz"
        generate(path, image_size=IMAGE_SIZE, counts=(asked.images, 64, 64), seed=SEED)
        data = experiment_data(path, CalibrationSpec(), SEED)
        seconds = {architecture: _seconds_an_image(architecture, data, Path(name)) for architecture in ARCHITECTURES}
    costs = {
        "written_by": "python -m benchmarks.epoch_costs",
        "measured_on": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores ({platform.machine()})",
        "images": asked.images,
        "image_size": IMAGE_SIZE,
        "seed": SEED,
        "start_seconds": round(_start_seconds(), 1),
        "seconds_an_image": seconds,
    }
    REPORT.write_text(json.dumps(costs, indent=2) + "\n")


def _seconds_an_image(architecture: str, data: ExperimentData, folder: Path) -> float:
    from models_store.experiment.phases import screening
    from models_store.experiment.selection import policy_for
    from workers.pipeline.networks.building import build_model
    from workers.pipeline.training.training import Schedule, train

    spec = ExperimentSpec(dataset="synthetic", architectures=(architecture,), weights="none", seed=SEED)
    (trial,) = screening(spec).values()
    ends: list[float] = []
    train(
        build_model(trial, data.image_size, base_weights=None, seed=SEED),
        data,
        Schedule(2, 2, trial.batch_size, trial.learning_rate, CLASS_WEIGHTS["W3"], SEED),
        policy_for(SelectionSpec(policy="val_recall_unguarded")),
        folder / architecture,
        lambda _: ends.append(time.process_time()),
    )
    cost = (ends[1] - ends[0]) / (os.cpu_count() or 1) / len(data.train.labels)
    print(f"{architecture}: {cost * 1000:.2f} ms an image", flush=True)
    return float(f"{cost:.3g}")


def _start_seconds() -> float:
    """How long a trial's process takes before it trains: Python, Keras and TensorFlow."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tensorflow, keras"], check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
