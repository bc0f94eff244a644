"""A downloaded bundle predicts like the service, in an environment without this product."""

import json
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from models_store.contract.specs import ExperimentSpec
from models_store.experiment.phases import screening
from models_store.scoring.probability_calibration import ProbabilityCalibration
from models_store.scoring.scorer import Scorer
from models_store.store.bundles import STANDALONE_FILES
from service.predictions.engine.images import prepare
from tests.final_model import a_calibration, an_about
from workers.pipeline.export import onnx_network
from workers.pipeline.networks.building import build_model
from workers.pipeline.serving_graph import save, serving_graph
from workers.pipeline.standalone import metadata, write_standalone

# Keras 3.15 asks NumPy 2 for an array that TensorFlow's variables hand over in the older way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = 28
THRESHOLD = 0.3
PLATT = ProbabilityCalibration(method="platt", slope=1.2, intercept=-0.7)


@cache
def network(name: str, seed: int) -> onnx.ModelProto:
    """An untrained network, exported; a base takes seconds, so that bundles share it."""
    spec = ExperimentSpec(dataset="d", architectures=(name,), weights="none")
    (trial,) = screening(spec).values()
    return onnx_network(build_model(trial, SIZE, base_weights=None, seed=seed))


@pytest.fixture(
    scope="module",
    params=[(("CNN_v1",), 1), (("EffLite_v1",), 1), (("CNN_v1", "EffLite_v1", "CNN_v1"), 8)],
    ids=["custom CNN", "transfer model", "ensemble of three, eight views"],
)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    names, views = request.param
    folder = tmp_path_factory.mktemp("bundle")
    about, calibration = an_about(views=views), a_calibration(THRESHOLD, holds=True)
    graph = serving_graph(
        [network(name, names[:place].count(name)) for place, name in enumerate(names)], PLATT, views=views
    )
    save(graph, folder / "model.onnx", metadata(about, calibration, {"python": "3.11"}, diagnoses=False))
    write_standalone(folder, about, calibration, Scorer(folder / "model.onnx"), signed=False)
    return folder


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with NumPy, Pillow and ONNX Runtime and nothing else."""
    folder = tmp_path_factory.mktemp("packages")
    for package in ("numpy", "PIL", "onnxruntime"):
        found = find_spec(package)
        assert found is not None
        assert found.origin is not None
        home = Path(found.origin).parent
        for name in (package, f"{package}.libs", "pillow.libs"):
            if (home.parent / name).exists() and not (folder / name).exists():
                (folder / name).symlink_to(home.parent / name)
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A tall JPEG on its side, a transparent PNG, an image that is already of the right size, and a grey one."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(5)

    def noise(*shape: int) -> Image.Image:
        coarse = random.integers(0, 256, (9, 9, shape[2]), dtype=np.uint8)
        return Image.fromarray(coarse).resize(shape[:2], Image.Resampling.BICUBIC)

    exif = Image.Exif()
    exif[0x0112] = 6
    noise(120, 171, 3).save(folder / "sideways.jpg", exif=exif)
    noise(90, 61, 4).save(folder / "transparent.png")
    noise(SIZE, SIZE, 3).save(folder / "exact.png")
    noise(200, 150, 3).convert("L").save(folder / "grey.png")
    return sorted(folder.iterdir())


def run(folder: Path, packages: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """predict.py as it would run elsewhere; -S leaves out this environment's packages."""
    environment = {"PYTHONPATH": str(packages), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-S", str(folder / "predict.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=packages, check=False)


def test_predict_py_answers_as_the_service_does(bundle: Path, empty_environment: Path, photographs: list[Path]) -> None:
    finished = run(bundle, empty_environment, *map(str, photographs))

    assert finished.returncode == 0, finished.stderr
    printed = json.loads(finished.stdout)
    scorer = Scorer(bundle / "model.onnx")
    for path, answer in zip(photographs, printed["answers"], strict=True):
        (expected,) = scorer(prepare(path.read_bytes(), SIZE, max_pixels=10**6).pixels[np.newaxis])
        assert answer["probability_malignant"] == pytest.approx(expected, abs=1e-6)
        assert answer["label"] == ("malignant" if expected >= THRESHOLD else "benign")
    assert printed["guarantee"] == "Nothing is promised."


def test_check_passes_where_the_model_is_whole_and_fails_where_it_is_another(
    bundle: Path, empty_environment: Path, tmp_path: Path
) -> None:
    assert run(bundle, empty_environment, "--check").returncode == 0

    for name in (*STANDALONE_FILES, "model.onnx"):
        (tmp_path / name).write_bytes((bundle / name).read_bytes())
    expected = json.loads((tmp_path / "check.json").read_text())
    expected["probability_malignant"] += 0.01
    (tmp_path / "check.json").write_text(json.dumps(expected))
    assert run(tmp_path, empty_environment, "--check").returncode == 1


def test_graph_states_its_threshold_guarantee_preprocessing_classes_licence_and_versions(bundle: Path) -> None:
    stated = {entry.key: entry.value for entry in onnx.load(bundle / "model.onnx").metadata_props}

    assert float(stated["threshold"]) == THRESHOLD
    assert json.loads(stated["guarantee"])["target_recall"] == 0.9
    assert json.loads(stated["preprocessing"])["size"] == SIZE
    assert json.loads(stated["classes"]) == {"labels": ["benign", "malignant"]}
    assert json.loads(stated["versions"]) == {"python": "3.11"}
    assert stated["licence"] == "cc-by-nc-4.0"
