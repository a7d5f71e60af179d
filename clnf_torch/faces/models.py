"""The models that the one-line calls use: given, named, or loaded once and kept."""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch

from clnf_torch.detection import FaceDetector, load_face_detector
from clnf_torch.detection.loading import face_detector_from
from clnf_torch.models.bundle import bundle_file, default_bundle
from clnf_torch.models.numerics import Numerics
from clnf_torch.pen_marks import PenMarkEraser, load_pen_mark_eraser
from clnf_torch.pipeline import LandmarkDetector, load

# Loaded models that are kept for the next call: a detector on each of two devices, or two models
KEPT = 2
# Of each landmark detector that is in use: the record of its own face detector, where that is, and the detector
_own_finders: WeakKeyDictionary[LandmarkDetector, tuple[Mapping[str, Any], torch.device, FaceDetector]]
_own_finders = WeakKeyDictionary()


@dataclass(frozen=True)
class LoadedModels:
    """A landmark detector, the face detector in front of it, and the name of the model for files."""

    landmarks: LandmarkDetector
    faces: FaceDetector | None
    name: str

    @property
    def device(self) -> torch.device:
        """Where the landmarks are fitted."""
        return self.landmarks.model.pdm.mean.device


def loaded_models(
    model: Any,
    face_detector: Any,
    device: torch.device | str | None,
    numerics: str | Numerics | None,
    precision: str | None,
    *,
    find: bool,
) -> LoadedModels:
    """The models of a call.

    Args:
        model: A `LandmarkDetector`; or what `load` takes as a path; None: the default model.
        face_detector: A `FaceDetector`; or what `load_face_detector` takes as a path; None: that in the model's bundle,
            or in the default one where the model is in memory.
        device: Where to compute; None: where the model is, the CPU for one that is loaded.
        numerics: See `load`.
        precision: See `load`.
        find: Whether faces are detected at all.

    Raises:
        ValueError: A model in memory is to have another device, numerics or precision than it has.
    """
    if isinstance(model, LandmarkDetector):
        if (device, numerics, precision) != (None, None, None):
            raise ValueError("device, numerics and precision are those of the detector that was given as model")
        landmarks, path = model, default_bundle()
    else:
        path = bundle_file(model)
        landmarks = _kept_model(os.fspath(path), _stamp(path), str(device or "cpu"), numerics, precision)
    name = "" if isinstance(model, LandmarkDetector) else os.fspath(path)
    if not find:
        return LoadedModels(landmarks, None, name)
    if face_detector is not None and not isinstance(face_detector, (str, os.PathLike)):
        return LoadedModels(landmarks, face_detector, name)
    own = landmarks.origin.get("face_detector")
    if face_detector is None and own is not None:
        return LoadedModels(landmarks, _own_finder(landmarks, own), name)
    where = path if face_detector is None else Path(face_detector)
    faces = _kept_finder(os.fspath(where), _stamp(where), str(landmarks.model.pdm.mean.device))
    return LoadedModels(landmarks, faces, name)


@functools.lru_cache(KEPT)
def _kept_model(
    path: str, stamp: tuple[int, ...], device: str, numerics: str | Numerics | None, precision: str | None
) -> LandmarkDetector:
    """The detector in a file that has not changed since."""
    return load(path, device, numerics=numerics, precision=precision)


@functools.lru_cache(KEPT)
def _kept_finder(path: str, stamp: tuple[int, ...], device: str) -> FaceDetector:
    """The face detector in a file that has not changed since."""
    return load_face_detector(path, device)


def _own_finder(landmarks: LandmarkDetector, record: Mapping[str, Any]) -> FaceDetector:
    """The face detector in the record that a landmark detector carries, on its device; kept as long as that one."""
    device = landmarks.model.pdm.mean.device
    kept = _own_finders.get(landmarks)
    if kept is None or kept[0] is not record or kept[1] != device:
        kept = _own_finders[landmarks] = record, device, face_detector_from(record, device)
    return kept[2]


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file does; nothing where there is none, of which `load` says so."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


@functools.lru_cache(KEPT)
def installed_eraser(device: torch.device) -> PenMarkEraser:
    """The eraser of pen marks that is installed with the package, on a device, kept for the next call."""
    return load_pen_mark_eraser(device=device)
