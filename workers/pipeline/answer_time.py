"""How long the exported network takes to answer about one image."""

import statistics
import time

import numpy as np
from numpy.typing import NDArray

from models_store.contract.records import AnswerTime
from models_store.scoring.scorer import Scorer
from workers.pipeline import machine

WARM_UP = 3
RUNS = 31


def time_answers(scorer: Scorer) -> AnswerTime:
    """The median over single-image runs on one thread, as a web process runs the network unless its settings differ."""
    image = np.zeros((1, scorer.input_size, scorer.input_size, 3), np.uint8)
    taken = [_milliseconds(scorer, image) for _ in range(WARM_UP + RUNS)]
    median = statistics.median(taken[WARM_UP:])
    return AnswerTime(milliseconds=float(f"{median:.3g}"), runs=RUNS, machine=machine.described())


def _milliseconds(scorer: Scorer, image: NDArray[np.uint8]) -> float:
    started = time.perf_counter()
    scorer(image)
    return 1000 * (time.perf_counter() - started)
