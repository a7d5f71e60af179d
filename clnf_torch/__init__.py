"""OpenFace 2.2's landmark detector in PyTorch: batched, differentiable, on CPU and CUDA."""

from clnf_torch.detection import FaceBoxes, FaceDetector, load_face_detector
from clnf_torch.fitting.config import PRESETS, FitConfig
from clnf_torch.models.bundle import BundleError, build_model, load_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import EXACT, OPENFACE, Numerics
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.pipeline import FitResult, LandmarkDetector, load
from clnf_torch.quality import (
    LandmarkQuality,
    QualityConfig,
    RepairedLandmarks,
    check_landmark_quality,
    repair_landmarks,
)
from clnf_torch.tracking import TrackState, VideoConfig, VideoResult, VideoTracker

__version__ = "0.2.0"

__all__ = [
    "EXACT",
    "OPENFACE",
    "PDM",
    "PRESETS",
    "BundleError",
    "CENExperts",
    "FaceBoxes",
    "FaceDetector",
    "FitConfig",
    "FitResult",
    "LandmarkDetector",
    "LandmarkModel",
    "LandmarkQuality",
    "Numerics",
    "QualityConfig",
    "RepairedLandmarks",
    "ShapeParams",
    "TrackState",
    "VideoConfig",
    "VideoResult",
    "VideoTracker",
    "build_model",
    "check_landmark_quality",
    "load",
    "load_bundle",
    "load_face_detector",
    "repair_landmarks",
]
