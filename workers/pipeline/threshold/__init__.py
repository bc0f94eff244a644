"""Choosing the decision threshold, and what it promises."""

from workers.pipeline.threshold.decision import Calibration, Guarantee, calibrate
from workers.pipeline.threshold.operating_points import ScoresUnusable
from workers.pipeline.threshold.policies import PrecisionOutOfReach, TooFewMalignantImages

__all__ = ["Calibration", "Guarantee", "PrecisionOutOfReach", "ScoresUnusable", "TooFewMalignantImages", "calibrate"]
