"""Floor 5: whether landmarks, whoever found them, can be right; and the fit of those that cannot."""

from clnf_torch.quality.check import check_landmark_quality
from clnf_torch.quality.config import QualityConfig
from clnf_torch.quality.repair import neighbours, repair_landmarks
from clnf_torch.quality.result import REASONS, LandmarkQuality, RepairedLandmarks, RepairStatistics

__all__ = [
    "REASONS",
    "LandmarkQuality",
    "QualityConfig",
    "RepairStatistics",
    "RepairedLandmarks",
    "check_landmark_quality",
    "neighbours",
    "repair_landmarks",
]
