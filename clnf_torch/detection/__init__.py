"""Detects faces in frames, and validates whether landmarks lie on a face."""

from clnf_torch.detection.blazeface import BlazeFace, BlazeFaceConfig
from clnf_torch.detection.face_detector import FaceBoxes, FaceDetector, nearest, widest
from clnf_torch.detection.loading import load_face_detector
from clnf_torch.detection.mtcnn import MTCNN, MTCNNConfig

__all__ = [
    "MTCNN",
    "BlazeFace",
    "BlazeFaceConfig",
    "FaceBoxes",
    "FaceDetector",
    "MTCNNConfig",
    "load_face_detector",
    "nearest",
    "widest",
]
