"""Which networks of an experiment are averaged, chosen on the selection split and never on test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from models_store.contract.specs import FinalModelSpec, TrialSpec
from models_store.datasets.layout import Split
from workers.pipeline.export import averaged_probabilities
from workers.pipeline.networks.building import load_model

# A member may lower the ROC AUC of the average on the selection split by this much, less than the noise of a few
# hundred images.
TOLERATED_LOSS = 0.002


@dataclass(frozen=True)
class Network:
    """A trained network of the experiment."""

    name: str
    trial: TrialSpec
    checkpoint: Path

    @property
    def kind(self) -> str:
        """The architecture, which another seed, class weight or strategy does not change."""
        return self.trial.architecture


def choose_members(networks: Sequence[Network], selection: Split, final: FinalModelSpec) -> list[Network]:
    """The first network and up to `final.ensemble` - 1 others, by the ROC AUC of the average on the selection split."""
    if final.ensemble == 1 or len(networks) == 1:
        return [networks[0]]
    scores = [
        averaged_probabilities([load_model(network.checkpoint)], selection.images, final.views) for network in networks
    ]
    kinds = [network.kind for network in networks]
    chosen = greedy(scores, kinds, selection.malignant, final.ensemble)
    return [networks[index] for index in chosen]


def greedy(
    scores: Sequence[NDArray[np.float64]], kinds: Sequence[str], malignant: NDArray[np.int64], most: int
) -> list[int]:
    """Indices of the members, the first of which is 0; `scores` are the probabilities (N,) of each network.

    At each step the network that makes the average best is added, first those of a kind that is not in it yet, as long
    as the average loses no more than `TOLERATED_LOSS`. Caruana et al., Ensemble selection from libraries of
    models, ICML 2004.
    """

    def auc(members: list[int]) -> float:
        return float(roc_auc_score(malignant, np.mean([scores[index] for index in members], axis=0)))

    chosen = [0]
    while len(chosen) < most:
        left = [index for index in range(len(scores)) if index not in chosen]
        allowed = {index: auc([*chosen, index]) for index in left}
        allowed = {index: area for index, area in allowed.items() if area >= auc(chosen) - TOLERATED_LOSS}
        if not allowed:
            break
        present = {kinds[index] for index in chosen}
        chosen.append(max(allowed, key=lambda index: (kinds[index] not in present, allowed[index], -index)))
    return chosen
