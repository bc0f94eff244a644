"""The champion in memory: found in the database, fetched, verified and warmed before it answers anything."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from models_store.database import Database
from models_store.scoring.out_of_distribution import load_distribution
from models_store.scoring.scorer import Scorer
from models_store.store import registry
from models_store.store.bundles import DISTRIBUTION, BundleAltered, StoredBundle
from models_store.store.storage import Storage
from models_store.tables import Model

log = logging.getLogger(__name__)
RETRY_SECONDS = 30.0
WARM_RUNS = 3  # the first is slower, and other processes may slow down one of them


@dataclass(frozen=True)
class Serving:
    """One version and everything an answer needs of it, so that no answer mixes two versions."""

    version: str
    dataset: str
    threshold: float
    guarantee: dict[str, Any]
    synthetic: bool
    weights: str
    scorer: Scorer
    run_seconds: float  # of the network on one image
    validation_scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """A champion that failed its checks; the model before it stays in use."""

    version: str
    reason: str


@dataclass
class Predictor:
    """Follows the alias `champion`. `serving` is replaced as a whole; a request reads it once."""

    database: Database
    storage: Storage
    cache_root: Path
    inference_threads: int = 1
    clock: Callable[[], float] = time.monotonic
    serving: Serving | None = None
    refusal: Refusal | None = None
    _previous: Serving | None = None
    _revision: int | None = None
    _retry_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self) -> None:
        """Loads the champion if it changed. Never raises: the present model stays until its successor is ready."""
        with self._lock:
            try:
                self._load_champion()
            except SQLAlchemyError as error:
                log.warning("the champion could not be read from the database: %s", error)

    def _load_champion(self) -> None:
        with self.database.read() as session:
            revision = registry.revision(session)
            if revision == self._revision and (self.refusal is None or self.clock() < self._retry_at):
                return
            champion = registry.champion(session)
        self._revision = revision
        if champion is None or (self.serving is not None and self.serving.version == champion.version):
            self.refusal = None
            return
        try:
            successor = self._reusable(champion) or load(
                champion, self.storage, self.cache_root, self.inference_threads
            )
        except Exception as error:  # whatever is wrong with the bundle must not stop the present model
            self.refusal, self._retry_at = Refusal(champion.version, str(error)), self.clock() + RETRY_SECONDS
            log.error("refused the model %s: %s", champion.version, error)
        else:
            self._previous, self.serving, self.refusal = self.serving, successor, None
            log.info("the model %s answers from now on", champion.version)

    def _reusable(self, champion: Model) -> Serving | None:
        """The model before the present one if it is `champion`, so that a rollback loads nothing."""
        previous = self._previous
        same = previous is not None and (previous.version, previous.threshold) == (champion.version, champion.threshold)
        return previous if same else None


def load(model: Model, storage: Storage, cache_root: Path, inference_threads: int = 1) -> Serving:
    """Fetches and verifies a model's bundle and runs its network.

    Raises `BundleAltered`, `StoredFileMissing`, `StoredFileAltered`, `DistributionInvalid`, or what ONNX Runtime raises
    for a bad graph.
    """
    bundle = StoredBundle(storage, model.store_key, model.manifest_sha256, cache_root / "models" / model.version)
    about, calibration = bundle.about, bundle.calibration
    if calibration.threshold != model.threshold:
        raise BundleAltered(
            f"the bundle of {model.version} has the threshold {calibration.threshold}, but {model.threshold} is on "
            "record; promote another version"
        )
    scorer = Scorer(
        bundle.path("model.onnx"),
        calibration.probability_calibration,
        distribution=load_distribution(bundle.path(DISTRIBUTION)) if DISTRIBUTION in bundle.files else None,
        intra_op_threads=inference_threads,
    )
    return Serving(
        version=model.version,
        dataset=about.dataset,
        threshold=calibration.threshold,
        guarantee=calibration.guarantee.model_dump(mode="json"),
        synthetic=about.synthetic,
        weights=about.weights,
        scorer=scorer,
        run_seconds=_warm(scorer, model.version),
        validation_scores=_validation_scores(bundle, model.version),
    )


def _warm(scorer: Scorer, version: str) -> float:
    """Runs the network a few times; returns the seconds of the shortest run. Raises `BundleAltered`."""
    image = np.zeros((1, scorer.input_size, scorer.input_size, 3), np.uint8)
    seconds = []
    for _ in range(WARM_RUNS):
        began = time.perf_counter()
        (probability,) = scorer.judge(image).probabilities
        seconds.append(time.perf_counter() - began)
    if not 0 <= probability <= 1:
        raise BundleAltered(f"the network of {version} does not answer with a probability; train it again")
    return min(seconds)


def _validation_scores(bundle: StoredBundle, version: str) -> tuple[float, ...]:
    """The model's scores on its validation images, empty if the bundle has none; drift is then not measured."""
    try:
        parts = (bundle.validation.calibration, bundle.validation.selection)
    except BundleAltered as error:
        log.warning("drift is not measured for %s: %s", version, error)
        return ()
    return tuple(score for part in parts if part is not None for score in part.scores)
