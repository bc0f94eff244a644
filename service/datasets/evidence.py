"""Refuses an experiment whose data set is already known to hold too little for it."""

from sqlalchemy.orm import Session

from models_store.contract.specs import ExperimentSpec
from models_store.datasets.describe import split_counts
from models_store.datasets.evidence import ClassCounts, Evidence, require_evidence
from models_store.datasets.labels import OFFICIAL_COUNTS
from models_store.datasets.synthetic import SYNTHETIC_SETS, evidence_of_synthetic
from models_store.tables import DatasetRow


def require_usable(session: Session, spec: ExperimentSpec) -> None:
    """Raises `TooLittleEvidence` where the experiment is certain to fail on its data set, whose name is known."""
    require_evidence(_evidence(session, spec.dataset), spec.calibration)


def _evidence(session: Session, name: str) -> Evidence:
    row = session.get(DatasetRow, name)
    if row is not None:
        return _recorded(row)
    if name in SYNTHETIC_SETS:
        return evidence_of_synthetic(name)
    # A lesions table beside the file on a worker, which the web process cannot read, only lowers the counts.
    official = {split: ClassCounts(malignant, benign) for split, (benign, malignant) in OFFICIAL_COUNTS.items()}
    return Evidence(official, official, "images")


def _recorded(row: DatasetRow) -> Evidence:
    splits = {split: split_counts(classes) for split, classes in row.counts.items()}
    images = {split: ClassCounts(counts.malignant, counts.benign) for split, counts in splits.items()}
    if row.lesions_store_key is None:
        return Evidence(images, images or None, "images")
    counted = row.lesion_counts and {split: ClassCounts(**counts) for split, counts in row.lesion_counts.items()}
    return Evidence(images, counted or None, "lesions")
