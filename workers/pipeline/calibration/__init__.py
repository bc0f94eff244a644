"""Choosing the decision threshold, and what it promises."""

from workers.pipeline.calibration.decision import calibrate
from workers.pipeline.calibration.operating_points import ScoresUnusable
from workers.pipeline.calibration.policies import PrecisionOutOfReach, TooFewMalignantImages
from workers.pipeline.calibration.record import Calibration, Guarantee

__all__ = ["Calibration", "Guarantee", "PrecisionOutOfReach", "ScoresUnusable", "TooFewMalignantImages", "calibrate"]
