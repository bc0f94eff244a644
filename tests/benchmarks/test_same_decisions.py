"""Every way to a prediction decides alike; a way that does not is counted."""

from pathlib import Path

import pytest

from benchmarks.same_decisions import BUNDLE, Decision, decide, differing, table
from models_store.datasets.layout import read_split
from models_store.datasets.synthetic import generate


@pytest.mark.slow
def test_upload_tensor_and_bundle_decide_alike(tmp_path: Path) -> None:
    generate(tmp_path / "images.npz", counts=(320, 160, 80), seed=3)
    decided = decide(read_split(tmp_path / "images.npz", "test").images[:36], tmp_path)
    assert [len(decisions) for decisions in decided.values()] == [36, 36, 36]
    assert {decision.label for decision in decided[BUNDLE]} == {"benign", "malignant"}
    assert [differing(decisions, decided[BUNDLE]) for decisions in decided.values()] == [0, 0, 0]


def test_decision_that_differs_is_counted_in_the_table() -> None:
    ours = [Decision("malignant", 0.75), Decision("benign", 0.25)]
    bundle = [Decision("malignant", 0.75), Decision("malignant", 0.5)]
    assert differing(ours, bundle) == 1
    assert "| POST /predict | 2 | 1 | 1 | 2.5e-01 |" in table({"POST /predict": ours, BUNDLE: bundle})
