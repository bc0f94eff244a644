"""The real application on real servers, and tiny models for it to serve."""

import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from onnx import TensorProto, helper, numpy_helper
from starlette.exceptions import StarletteDeprecationWarning

from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.files import sha256_of
from models_store.scoring.out_of_distribution import FeatureDistribution
from models_store.settings import Settings
from models_store.store import bundles, registry
from models_store.store.signatures import Signer
from models_store.store.storage import Storage
from models_store.tables import Experiment, Model, Trial
from service.app import create_app
from tests.final_model import a_calibration, an_about

with warnings.catch_warnings():
    warnings.simplefilter("ignore", StarletteDeprecationWarning)  # it would rather have httpx2 than httpx
    from starlette.testclient import TestClient

SIZE = 28
MakeModel = Callable[..., str]


@pytest.fixture
def settings(tmp_path: Path, database_url: str, broker_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url=broker_url,
        store_url=str(tmp_path / "store"),
        cache_root=tmp_path / "cache",
        max_upload_bytes=200_000,
        max_image_pixels=1_000_000,
        _env_file=None,
    )


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings.store_url)


@pytest.fixture
def app(settings: Settings, database: Database, storage: Storage) -> FastAPI:
    return create_app(settings, database=database, storage=storage)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def make_model(database: Database, storage: Storage, tmp_path: Path) -> MakeModel:
    """Stores a complete model and returns its version; `promote` makes it the champion.

    Its network is `brightness_network` unless another is given. Without `cut` it is one from before bundles told what
    training images are like.
    """

    def make(
        *,
        threshold: float = 0.5,
        promote: bool = False,
        cut: float | None = 1000.0,
        signer: Signer | None = None,
        network: bytes | None = None,
        **columns: Any,
    ) -> str:
        folder = tmp_path / "bundle"
        folder.mkdir(exist_ok=True)
        about = an_about(**({"dataset": "dermamnist", "image_size": SIZE} | columns))
        (folder / "model.onnx").write_bytes(network or brightness_network())
        bundles.write_json(folder / "calibration.json", a_calibration(threshold, holds=True))
        for name in bundles.COMPLETED_FILES:
            if name not in ("frozen.json", "model.onnx", "calibration.json"):
                (folder / name).write_text(f"# {name} of threshold {threshold}")
        brightness_distribution(cut or 1.0).save(folder / bundles.DISTRIBUTION)
        bundle_sha256 = bundles.freeze(folder, about)
        manifest_sha256 = bundles.complete(folder, signer)
        if cut is None:
            manifest_sha256 = _as_before_likeness(folder)
        with database.write() as session:
            spec = ExperimentSpec(dataset=about.dataset).model_dump(mode="json")
            experiment = Experiment(name="", priority=5, spec=spec, status="succeeded", created_at=datetime.now(UTC))
            session.add(experiment)
            session.flush()
            trial = Trial(
                experiment_id=experiment.id,
                phase=3,
                position=0,
                name="final",
                kind="finalize",
                queue="cpu",
                spec={},
                status="succeeded",
                created_at=datetime.now(UTC),
            )
            session.add(trial)
            session.flush()
            store_key = f"models/{experiment.id}"
            bundles.upload(folder, storage, store_key)
            model = Model(
                experiment_id=experiment.id,
                trial_id=trial.id,
                winner="CNN_v1-W3",
                architecture="CNN_v1",
                dataset=about.dataset,
                dataset_sha256=sha256_of(folder / "model.onnx"),
                synthetic=about.synthetic,
                weights=about.weights,
                store_key=store_key,
                bundle_sha256=bundle_sha256,
                manifest_sha256=manifest_sha256,
                signed_by=None if signer is None else signer.key_id,
                threshold=threshold,
                calibration={"guarantee": {"holds": True}},
                metrics={"recall": 0.9},
                created_at=datetime.now(UTC),
            )
            session.add(model)
            session.flush()
            if promote:
                registry.promote(session, model.version, actor="test", reason="to answer")
            return model.version

    return make


def _as_before_likeness(folder: Path) -> str:
    files = bundles.read_json(folder / "manifest.json")["files"]
    del files[bundles.DISTRIBUTION]
    bundles.write_json(folder / "manifest.json", {"files": files})
    return sha256_of(folder / "manifest.json")


def brightness_distribution(cut: float) -> FeatureDistribution:
    """The distance is that of the mean of all pixels from 0.5, in tenths."""
    one = np.ones(1)
    return FeatureDistribution(
        center=0.5 * one, directions=one[:, np.newaxis], variances=0.01 * one, remainder=0.01, cut=cut
    )


def brightness_network() -> bytes:
    """P(malignant) = softmax of (-10 m + 5, 10 m - 5), m the mean of all pixels, the feature; bright is malignant."""
    weights = [
        numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
        numpy_helper.from_array(np.array([1], np.int64), "last"),
        numpy_helper.from_array(np.array([[-10, 10]], np.float32), "weight"),
        numpy_helper.from_array(np.array([5, -5], np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["features"]),
        helper.make_node("MatMul", ["features", "weight"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1]),
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content: bytes = model.SerializeToString()
    return content
