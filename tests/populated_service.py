"""A service with something to look at: finished experiments, a champion, predictions, a worker and a queue.

Every figure is fabricated and means nothing.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from redis import Redis
from sqlalchemy import insert
from sqlalchemy.orm import Session

from models_store.database import Database
from models_store.experiment import phases
from models_store.presence import Presence, send_heartbeat
from models_store.store import registry
from models_store.store.storage import Storage
from models_store.tables import Event, PredictionRow
from tests.finished_experiment import a_final_record, a_spec, store_experiment, store_finished, store_trial

SIZE = 28
EXPERIMENTS = (("cnn screen", "CNN_v1", 1.4), ("deeper networks", "CNN_v2", 1.9), ("transfer, small", "VGG_v3", 1.1))
WORKER = Presence(
    name="gpu-1:4711",
    host="gpu-1",
    queues=("cpu", "gpu"),
    slots=2,
    gpus=("0", "1"),
    cores=16,
    python="3.11.9",
    version="0.1.0",
    commit="0123456789abcdef0123456789abcdef01234567",
    started_at="2026-01-05T09:00:00+00:00",
)


def populate(database: Database, storage: Storage, broker_url: str, folder: Path) -> list[str]:
    """Fills empty servers; returns the finished experiments' ids, the first of them the champion's."""
    experiments, validations = [], []
    with database.write() as session:
        for number, (name, architecture, separation) in enumerate(EXPERIMENTS):
            spec = a_spec(name=name)
            final = a_final_record(spec, architecture=architecture, separation=separation)
            validations.append(final.validation["calibration"]["scores"])
            experiments.append(store_finished(session, storage, folder / str(number), spec, final, spot_network()))
        for experiment, reason in zip(
            experiments[1::-1], ("the first that is good enough", "found more cancers"), strict=True
        ):
            registry.promote(session, f"mdl_{experiment}", actor="local", reason=reason)
        _store_predictions(session, f"mdl_{experiments[0]}", validations[0])
        _store_running(session)
    with Redis.from_url(broker_url) as broker:
        send_heartbeat(broker, WORKER, expiry_seconds=3600)
    return experiments


def spot_network() -> bytes:
    """P(malignant) = softmax of (5 - 10 m, 10 m - 5), m the darkness of the middle: a dark centre is malignant."""
    middle = np.zeros((1, SIZE, SIZE, 3), np.float32)
    middle[:, 9:19, 9:19] = 1 / (10 * 10 * 3)
    weights = [
        numpy_helper.from_array(middle, "middle"),
        numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
        numpy_helper.from_array(np.array([1], np.int64), "last"),
        numpy_helper.from_array(np.array([[10, -10]], np.float32), "weight"),
        numpy_helper.from_array(np.array([-5, 5], np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Mul", ["image", "middle"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["features"]),
        helper.make_node("MatMul", ["features", "weight"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", SIZE, SIZE, 3])
    outputs = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1]),
    ]
    graph = helper.make_graph(nodes, "spot", [image], outputs, weights)
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    return content


def _store_predictions(session: Session, version: str, validation: list[float]) -> None:
    """A fortnight, one day of it silent; what is asked on the last two days is of another kind."""
    random, moment = np.random.default_rng(3), datetime.now(UTC)
    for back in range(14):
        count = int(random.integers(60, 160)) if back != 4 else 0
        scores = random.choice(validation, count) ** (0.5 if back < 2 else 1.0)
        rows = [
            {
                "id": f"prd_{back}_{number}",
                "created_at": moment - timedelta(days=back),
                "model_version": version,
                "dataset": "fabricated_28",
                "threshold": 0.2,
                "probability": float(score),
                "label": "malignant" if score >= 0.2 else "benign",
                "image_sha256": "0" * 64,
                "image_stored": False,
                "warnings": [],
            }
            for number, score in enumerate(scores)
        ]
        if rows:
            session.execute(insert(PredictionRow), rows)


def _store_running(session: Session) -> None:
    spec, moment = a_spec(name="under way"), datetime.now(UTC)
    experiment = store_experiment(session, spec, "running", 1)
    experiment.created_at = moment - timedelta(minutes=3)
    for position, (name, trial) in enumerate(phases.screening(spec).items()):
        row = store_trial(session, experiment, 1, position, name, trial, "running" if position < 2 else "queued")
        row.created_at, row.queue = moment - timedelta(seconds=95 - position), "gpu" if position == 3 else "cpu"
        if row.status == "running":
            row.worker, row.lease_expires_at = WORKER.name, moment + timedelta(hours=1)
            row.epochs_done = 7 + position
        news = {"trial_id": row.id, "status": row.status, "name": name}
        session.add(Event(experiment_id=experiment.id, number=position + 1, kind="trial", data=news, created_at=moment))
