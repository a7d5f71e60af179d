"""The landmark detector: hypotheses, fit, parts and validation in one call."""

from clnf_torch.pipeline.alignment import align_faces
from clnf_torch.pipeline.detector import LandmarkDetector
from clnf_torch.pipeline.loading import load, load_face_detector_for, save
from clnf_torch.pipeline.measuring import measure_faces
from clnf_torch.pipeline.result import FitResult

__all__ = ["FitResult", "LandmarkDetector", "align_faces", "load", "load_face_detector_for", "measure_faces", "save"]
