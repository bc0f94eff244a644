"""The choice of the decision threshold, and its guarantee."""

from workers.pipeline.threshold.decision import choose_threshold, malignant_units
from workers.pipeline.threshold.operating_points import ScoresUnusable
from workers.pipeline.threshold.policies import PrecisionOutOfReach

__all__ = ["PrecisionOutOfReach", "ScoresUnusable", "choose_threshold", "malignant_units"]
