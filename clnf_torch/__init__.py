"""OpenFace 2.2's landmark detector in PyTorch: batched, differentiable, on CPU and CUDA.

Find faces in one call:
    detect: Faces in images: a path, a folder, a pattern, images in memory, or a list of them.
    track: Faces in a video, all at once or frame by frame.
    Faces: The result of detect: landmarks, pose, gaze; sliced, shown, drawn, saved.
    Face: One of them.
    FaceTrack: The result of track, frame by frame.
    Problem: An image, or a box in it, that could not be used.

Load a model and fit faces:
    load: The landmark detector in a bundle, or the default one.
    save: Writes a detector as a bundle.
    LandmarkDetector: Fits the landmarks of many faces in many frames at once.
    FitResult: Landmarks, parameters, confidence and success, one row per face.
    align_faces: Faces in images of one size, upright and equally large.
    measure_faces: 3D landmarks, head pose and gaze of fitted faces.
    Intrinsics: The camera in front of the faces.

Detect and track faces:
    load_face_detector: The face detector in a bundle, or the default one.
    FaceDetector: The protocol of face detectors: one method.
    FaceBoxes: Detected faces.
    VideoTracker: Tracks faces through videos, one step per frame.
    VideoConfig: Its settings.
    VideoResult: The faces of one step.
    TrackState: All that it remembers from frame to frame.

Check and repair another method's landmarks:
    check_landmark_quality: Whether landmarks are plausible, and why not.
    LandmarkQuality: Its result.
    repair_landmarks: Fits implausible faces again and keeps the others.
    RepairedLandmarks: Its result.
    adjacent_frames: The landmarks of each face in the frames before and after, for both.
    QualityConfig: The thresholds of both.

Take pen marks away:
    load_pen_mark_eraser: The eraser that is installed with the package, or one in a bundle.
    PenMarkEraser: Erases pen marks around faces in frames, for any landmarker.

Choose settings:
    FitConfig: Settings of a multi-scale fit.
    PRESETS: OpenFace's settings by name: default, tracking, wild.
    Numerics: Switches between OpenFace's approximations and the exact forms.
    OPENFACE: All approximations of OpenFace.
    EXACT: The exact, differentiable forms.

Work with shapes and models:
    PDM: The point distribution model of 3D face shapes.
    ShapeParams: Pose and shape parameters, one row per face.
    LandmarkModel: A PDM with its patch experts and parts.
    CENExperts: Convolutional experts (CE-CLM), a family of patch experts.
    load_bundle: The contents of a bundle.
    build_model: The landmark model in a bundle.
    BundleError: A file that is no bundle, or does not make a model.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

# Waiting threads that spin, as OpenMP's do by default, take a shared core from the one that is waited for. Only what is
# set before torch is imported counts.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if TYPE_CHECKING:
    from clnf_torch.detection import FaceBoxes, FaceDetector, load_face_detector
    from clnf_torch.faces import Face, Faces, FaceTrack, Problem, detect, track
    from clnf_torch.fitting.config import PRESETS, FitConfig
    from clnf_torch.geometry.camera import Intrinsics
    from clnf_torch.models.bundle import BundleError, build_model, load_bundle
    from clnf_torch.models.landmark_model import LandmarkModel
    from clnf_torch.models.numerics import EXACT, OPENFACE, Numerics
    from clnf_torch.models.patch_experts.cen import CENExperts
    from clnf_torch.models.pdm import PDM, ShapeParams
    from clnf_torch.pen_marks import PenMarkEraser, load_pen_mark_eraser
    from clnf_torch.pipeline import FitResult, LandmarkDetector, align_faces, load, measure_faces, save
    from clnf_torch.quality import (
        LandmarkQuality,
        QualityConfig,
        RepairedLandmarks,
        adjacent_frames,
        check_landmark_quality,
        repair_landmarks,
    )
    from clnf_torch.tracking import TrackState, VideoConfig, VideoResult, VideoTracker

__version__ = "0.2.0"

# PyTorch takes a second to load: what only asks for the version, or for help, goes without
_HOMES = {
    "clnf_torch.detection": ("FaceBoxes", "FaceDetector", "load_face_detector"),
    "clnf_torch.faces": ("Face", "FaceTrack", "Faces", "Problem", "detect", "track"),
    "clnf_torch.fitting.config": ("FitConfig", "PRESETS"),
    "clnf_torch.geometry.camera": ("Intrinsics",),
    "clnf_torch.models.bundle": ("BundleError", "build_model", "load_bundle"),
    "clnf_torch.models.landmark_model": ("LandmarkModel",),
    "clnf_torch.models.numerics": ("EXACT", "Numerics", "OPENFACE"),
    "clnf_torch.models.patch_experts.cen": ("CENExperts",),
    "clnf_torch.models.pdm": ("PDM", "ShapeParams"),
    "clnf_torch.pen_marks": ("PenMarkEraser", "load_pen_mark_eraser"),
    "clnf_torch.pipeline": ("FitResult", "LandmarkDetector", "align_faces", "load", "measure_faces", "save"),
    "clnf_torch.quality": (
        "LandmarkQuality",
        "QualityConfig",
        "RepairedLandmarks",
        "adjacent_frames",
        "check_landmark_quality",
        "repair_landmarks",
    ),
    "clnf_torch.tracking": ("TrackState", "VideoConfig", "VideoResult", "VideoTracker"),
}

__all__ = [
    "EXACT",
    "OPENFACE",
    "PDM",
    "PRESETS",
    "BundleError",
    "CENExperts",
    "Face",
    "FaceBoxes",
    "FaceDetector",
    "FaceTrack",
    "Faces",
    "FitConfig",
    "FitResult",
    "Intrinsics",
    "LandmarkDetector",
    "LandmarkModel",
    "LandmarkQuality",
    "Numerics",
    "PenMarkEraser",
    "Problem",
    "QualityConfig",
    "RepairedLandmarks",
    "ShapeParams",
    "TrackState",
    "VideoConfig",
    "VideoResult",
    "VideoTracker",
    "adjacent_frames",
    "align_faces",
    "build_model",
    "check_landmark_quality",
    "detect",
    "load",
    "load_bundle",
    "load_face_detector",
    "load_pen_mark_eraser",
    "measure_faces",
    "repair_landmarks",
    "save",
    "track",
]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """A public name, or a subpackage, loaded when it is first asked for."""
        home, inside = next((module for module, names in _HOMES.items() if name in names), None), f"{__name__}.{name}"
        if home is None and (name.startswith("_") or find_spec(inside) is None):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = import_module(inside) if home is None else getattr(import_module(home), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
