"""How to cite an experiment, and the command that runs it again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from models_store.datasets.citations import how_to_cite
from models_store.datasets.synthetic import SYNTHETIC_SETS
from service.presentation.experiment import ExperimentRecord

AUTHORS, TITLE, LICENCE = "The DermaTriage authors", "DermaTriage", "Apache-2.0"
END_OF_SPEC = "EXPERIMENT"


@dataclass(frozen=True)
class Citation:
    """What a publication has to cite; `command` submits the same specification again in a POSIX shell."""

    software: str
    dataset: str
    publications: Sequence[str]
    commits: Sequence[str]
    dataset_sha256: str | None
    seeds: Sequence[int]
    command: str


def citation(record: ExperimentRecord) -> Citation:
    spec = record.spec
    synthetic = spec.dataset in SYNTHETIC_SETS if record.model is None else record.model.synthetic
    dataset, publications = how_to_cite(spec.dataset, synthetic=synthetic)
    return Citation(
        software=f"{AUTHORS}: {TITLE}, version {version('dermatriage')}. Software, {LICENCE}.",
        dataset=dataset,
        publications=publications,
        commits=_commits(record),
        dataset_sha256=None if record.model is None else record.model.dataset_sha256,
        seeds=range(spec.seed, spec.seed + spec.repeats),
        command=_command(record.experiment.spec),
    )


def _command(spec: Mapping[str, Any]) -> str:
    return f"dermatriage submit - <<'{END_OF_SPEC}'\n{json.dumps(spec, indent=2)}\n{END_OF_SPEC}"


def _commits(record: ExperimentRecord) -> list[str]:
    """The commits that the trials ran, without duplicates."""
    trials = (*record.trials, *((record.final,) if record.final else ()))
    return sorted({str(trial.environment["commit"]) for trial in trials if "commit" in (trial.environment or {})})
