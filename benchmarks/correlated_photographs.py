"""Is the promise kept where photographs of one lesion resemble each other? A simulated population, known exactly.

    python -m benchmarks.correlated_photographs [--draws 4000] [--seed 0] [--report docs/guarantee.md]

Half a minute. Each draw is one calibration set; the recall of its threshold on the population is computed, not sampled.
`--report` replaces this section of the page and leaves the rest. Expected: where each lesion counts once, at most 5 %
of the draws break the promise on new lesions, within the error of the number of draws; otherwise the exit status is 1.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr
from scipy.stats import binomtest

from benchmarks import markdown
from models_store.contract.specs import CalibrationSpec
from models_store.wording import measured_percent, percent
from workers.pipeline.threshold import choose_threshold

DRAWS = 4_000
CORRELATIONS = (0.0, 0.5, 0.9)
SIZES = (98, 196)
TARGET, CONFIDENCE = 0.90, 0.95
COLUMNS = (
    "malignant lesions",
    "correlation",
    "counted",
    "new lesions, every photograph",
    "new lesions, one photograph",
    "new photographs",
    "mean specificity",
)
HEADING = "## Photographs of one lesion that resemble each other"

# The distance between malignant and benign scores, which gives a ROC AUC of 0.87, as on real images.
SEPARATION = 1.6
MAX_PHOTOGRAPHS = 6
BENIGN_PER_LESION = 2

# Evenly spaced over a standard normal effect; 4,001 points leave an error below 1e-9 in every recall.
EFFECTS = np.linspace(-8.0, 8.0, 4_001)
DENSITY = np.exp(-(EFFECTS**2) / 2) / np.sum(np.exp(-(EFFECTS**2) / 2))

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recalls:
    """The recall of one threshold on the whole population.

    `every` is the share of lesions of which every photograph is called malignant, `one` the share where one is picked
    at random, and `photographs` the share of photographs, in which hard lesions weigh more.
    """

    every: float
    one: float
    photographs: float


@dataclass(frozen=True)
class Population:
    """Malignant lesions with an effect that their photographs share.

    A score is the logistic of `SEPARATION` + sqrt(correlation) * effect + sqrt(1 - correlation) * noise, both standard
    normal. A lesion has 1 + Binomial(5, p) photographs, and p is the larger the lower, thus the harder, its effect.
    """

    correlation: float

    def draw(self, lesions: int, random: np.random.Generator) -> tuple[Floats, NDArray[np.int64]]:
        """Scores (N,) of all photographs of so many lesions, and the lesion (N,) that each one shows."""
        effect = random.standard_normal(lesions)
        photographs = 1 + random.binomial(MAX_PHOTOGRAPHS - 1, _chance_of_another(effect))
        lesion = np.repeat(np.arange(lesions), photographs)
        noise = random.standard_normal(len(lesion))
        return expit(self._mean(effect[lesion]) + np.sqrt(1 - self.correlation) * noise), lesion

    def recalls(self, threshold: float) -> Recalls:
        """Exact but for the sum over effects."""
        called = ndtr((self._mean(EFFECTS) - logit(threshold)) / np.sqrt(1 - self.correlation))
        another = _chance_of_another(EFFECTS)
        photographs = 1 + (MAX_PHOTOGRAPHS - 1) * another
        every = called * (1 - another + another * called) ** (MAX_PHOTOGRAPHS - 1)
        return Recalls(
            every=float(DENSITY @ every),
            one=float(DENSITY @ called),
            photographs=float(DENSITY @ (photographs * called) / (DENSITY @ photographs)),
        )

    def _mean(self, effect: Floats) -> Floats:
        mean: Floats = SEPARATION + np.sqrt(self.correlation) * effect
        return mean


@dataclass(frozen=True)
class Coverage:
    """How many of `draws` thresholds fell below the target, by each reading of recall; mean calibration specificity."""

    correlation: float
    lesions: int
    by_lesion: bool
    draws: int
    below_every: int
    below_one: int
    below_photographs: int
    specificity: float

    @property
    def kept(self) -> bool:
        """Whether chance alone explains what exceeds 5 %; counting photographs promises nothing about lesions."""
        return not self.by_lesion or not exceeds(self.below_every, self.draws)


def exceeds(broken: int, draws: int, significance: float = 0.001) -> bool:
    """Whether so many broken promises show a rate above 5 % (one-sided exact binomial test)."""
    return bool(binomtest(broken, draws, 1 - CONFIDENCE, alternative="greater").pvalue < significance)


def coverage_of(correlation: float, lesions: int, *, by_lesion: bool, draws: int = DRAWS, seed: int = 0) -> Coverage:
    """Choose a threshold on each of many calibration sets; the same seed gives both countings the same sets."""
    random, population = np.random.default_rng(seed), Population(correlation)
    spec = CalibrationSpec(target_recall=TARGET, confidence=CONFIDENCE)
    reached, specificities = [], []
    for _ in range(draws):
        malignant, lesion = population.draw(lesions, random)
        benign = expit(random.standard_normal(BENIGN_PER_LESION * lesions))
        scores = np.concatenate([malignant, benign])
        labels = np.repeat([1, 0], [len(malignant), len(benign)])
        ids = np.concatenate([lesion, lesions + np.arange(len(benign))]) if by_lesion else None
        decision = choose_threshold(scores, labels, spec, lesion_ids=ids)
        reached.append(population.recalls(decision.threshold))
        specificities.append(decision.specificity)
    return Coverage(
        correlation,
        lesions,
        by_lesion,
        draws,
        below_every=sum(recall.every < TARGET for recall in reached),
        below_one=sum(recall.one < TARGET for recall in reached),
        below_photographs=sum(recall.photographs < TARGET for recall in reached),
        specificity=float(np.mean(specificities)),
    )


def main() -> int:
    arguments = _arguments()
    rows = simulated(arguments.draws, arguments.seed)
    text = section(rows, arguments.seed)
    print(text)
    if arguments.report:
        markdown.replace_last_section(arguments.report, HEADING, text)
    return 0 if all(row.kept for row in rows) else 1


def simulated(draws: int = DRAWS, seed: int = 0) -> list[Coverage]:
    return [
        coverage_of(correlation, lesions, by_lesion=by_lesion, draws=draws, seed=seed)
        for lesions in SIZES
        for correlation in CORRELATIONS
        for by_lesion in (False, True)
    ]


def section(rows: list[Coverage], seed: int) -> str:
    """The last section of the page, in Markdown."""
    table = markdown.table(COLUMNS, map(_cells, rows))
    broken = "" if all(row.kept for row in rows) else "\n**Chance does not explain a share below 95 %.**\n"
    worst = min(1 - row.below_photographs / row.draws for row in rows if row.by_lesion)
    return f"""{HEADING}

Written by `python -m benchmarks.correlated_photographs --seed {seed}`, which needs no images. A simulated lesion has
1 to {MAX_PHOTOGRAPHS} photographs, the more the harder it is, and their scores share an effect of the lesion to the
extent of `correlation`. ROC AUC is about 0.87, the target {TARGET:.2f}, the confidence {CONFIDENCE:.2f};
{rows[0].draws:,} calibration sets a row, each judged by the recall of its threshold on the whole population, which is
computed and not sampled. Both countings get the same sets.

Three readings of recall: of new lesions when every photograph has to be called malignant, of new lesions when one
photograph is picked at random, and of new photographs, where a hard lesion counts as often as it was photographed. A
share is that of the sets whose threshold reaches the target; the promise is at least {percent(CONFIDENCE)}.

{table}
{broken}
The product counts each lesion once, by its lowest score. Its promise is for lesions, and is kept on both readings of
them whatever the correlation. It is no promise for photographs: where hard lesions are photographed more often, their
photographs weigh more than their lesions do, and down to {100 * worst:.0f} % of the sets reach the target on
photographs. Counting each photograph breaks even the promise for photographs as soon as photographs of one lesion
resemble each other.
"""


def _cells(row: Coverage) -> tuple[object, ...]:
    counted = "each lesion once" if row.by_lesion else "each photograph"
    kept = (1 - below / row.draws for below in (row.below_every, row.below_one, row.below_photographs))
    return (row.lesions, f"{row.correlation:g}", counted, *map(measured_percent, kept), f"{row.specificity:.3f}")


def _chance_of_another(effect: Floats) -> Floats:
    chance: Floats = ndtr(-0.8 - effect)
    return chance


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="the page whose section is replaced")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
