"""What a training run has done so far. Imports no Keras."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models_store.contract.outcomes import Epoch

# Where a trial's folder holds its resume point. Defined here, because a worker uploads it without importing Keras.
RESUME_FOLDER = "resume"
RESUME_STATE = "state.npz"


@dataclass(frozen=True)
class Progress:
    """The epochs in order, and the scores (N,) that the best of them gives the selection split."""

    epochs: tuple[Epoch, ...] = ()
    best_scores: NDArray[np.float64] | None = None

    @property
    def best(self) -> Epoch | None:
        """The best epoch so far, or None while none was eligible."""
        return next((epoch for epoch in reversed(self.epochs) if epoch.best), None)

    @property
    def epochs_since_best(self) -> int:
        """Epochs without a better one; all of them while none was eligible."""
        return len(self.epochs) - (self.best.number if self.best else 0)

    def after(self, epoch: Epoch, scores: NDArray[np.float64]) -> "Progress":
        """The progress with one more epoch, whose selection scores are kept if it is the best."""
        return replace(self, epochs=(*self.epochs, epoch), best_scores=scores if epoch.best else self.best_scores)
