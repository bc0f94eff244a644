"""`dermatriage demo` as a person runs it, on a small data set: every part of the product, once, for real."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models_store.datasets.synthetic import generate

# Enough malignant images in validation for the guarantee of the default calibration.
COUNTS = (600, 400, 200)
DEMO_SECONDS = 500

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def demo(home: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("demo")
    generate(folder / "Small Set.npz", counts=COUNTS)
    command = [sys.executable, "-m", "service.cli", "demo", "--data", str(folder / "Small Set.npz")]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DERMATRIAGE_", "XDG_"))}
    environment = inherited | {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=DEMO_SECONDS, check=False
    )


def test_demo_trains_tests_predicts_and_ends_with_0(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr
    for said in (
        "phase 1 of 3",
        "phase 2 of 3",
        "phase 3 of 3",
        "RECALL",
        "known to be malignant",
        "known to be benign",
    ):
        assert said in demo.stdout
    figures = demo.stdout.split("Test set at the threshold", 1)[1].splitlines()
    assert "show a lesion that training saw" in figures[1]
    assert figures[2].split()[0] == "RECALL"


def test_demo_names_its_data_in_its_first_and_last_line(demo: subprocess.CompletedProcess[str]) -> None:
    first, *_, last = demo.stdout.strip().splitlines()

    assert "small_set" in first
    assert "small_set" in last


def test_demo_leaves_caches_alone_in_the_home_folder(demo: subprocess.CompletedProcess[str], home: Path) -> None:
    assert demo.returncode == 0
    assert {entry.name for entry in home.iterdir()} <= {".cache", ".keras", ".medmnist"}
    # Where ONNX Runtime would keep the id under which it reports to its maker.
    assert not (home / ".cache" / "Microsoft").exists()
