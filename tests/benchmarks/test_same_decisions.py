"""Every way to a prediction decides alike; a way that does not is counted."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.same_decisions import BUNDLE, Decision, differing, table
from models_store.datasets.synthetic import generate


@pytest.mark.slow
def test_upload_tensor_and_bundle_decide_alike(tmp_path: Path) -> None:
    generate(tmp_path / "images.npz", counts=(320, 160, 80), seed=3)
    command = [sys.executable, "-m", "benchmarks.same_decisions", str(tmp_path / "images.npz"), "--images", "36"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in ran.stdout.splitlines()[-3:]]
    assert [row[0] for row in rows] == ["POST /predict", "V2 infer", BUNDLE]
    assert [(images, others) for _, images, _, others, _ in rows] == [("36", "0")] * 3


def test_decision_that_differs_is_counted_in_the_table() -> None:
    ours = [Decision("malignant", 0.75), Decision("benign", 0.25)]
    bundle = [Decision("malignant", 0.75), Decision("malignant", 0.5)]
    assert differing(ours, bundle) == 1
    assert "| POST /predict | 2 | 1 | 1 | 2.5e-01 |" in table({"POST /predict": ours, BUNDLE: bundle})
