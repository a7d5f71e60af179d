"""Checks whether landmarks of any method are plausible, and repairs those that are not."""

from clnf_torch.quality.check import check_landmark_quality
from clnf_torch.quality.checks import REASONS
from clnf_torch.quality.config import QualityConfig
from clnf_torch.quality.repair import adjacent_frames, repair_landmarks
from clnf_torch.quality.result import LandmarkQuality, RepairedLandmarks, RepairStatistics

__all__ = [
    "REASONS",
    "LandmarkQuality",
    "QualityConfig",
    "RepairStatistics",
    "RepairedLandmarks",
    "adjacent_frames",
    "check_landmark_quality",
    "repair_landmarks",
]
