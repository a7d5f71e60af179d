"""Time per face of whole detections and of tracked frames: parts and validation included."""

import torch
from rich.table import Table

import clnf_torch
from benchmarks.machine import seconds
from benchmarks.material import boxes, clnf_bundle, photograph, real_size_bundle
from benchmarks.tables import table
from clnf_torch.models.bundle import default_bundle

FACES = (1, 32)
OURS = "our own model"
OPENFACE_MS = {"CE-CLM, real size": "57.9", "CLNF": "30.9"}  # OpenFace's C++, a whole detection, 2 threads, 2 cores


def report(device: str, repeats: int) -> list[Table]:
    """The tables of this benchmark."""
    frames = photograph().to(device)
    rows = []
    with torch.inference_mode():
        bundles = {OURS: default_bundle(), "CE-CLM, real size": real_size_bundle(), "CLNF": clnf_bundle()}
        for name, path in bundles.items():
            detector = clnf_torch.load(path, device)
            detections = [_detection(detector, frames, faces, repeats, device) for faces in FACES]
            rows.append((f"{name}: detection", *map(_ms, detections), OPENFACE_MS.get(name, "-")))
            tracked = [_tracked_frame(detector, frames, faces, repeats, device) for faces in FACES]
            rows.append((f"{name}: tracked frame", *map(_ms, tracked), "-"))
    columns = ("what", *(f"{faces} faces, ms per face" for faces in FACES), "C++, one face, ms")
    return [table("Whole detections and tracked frames, with parts and validation", columns, rows)]


def _detection(
    detector: clnf_torch.LandmarkDetector, frames: torch.Tensor, faces: int, repeats: int, device: str
) -> float:
    """Seconds per face of fits from boxes."""
    return seconds(lambda: detector.fit(frames, boxes(faces)), repeats, device) / faces


def _tracked_frame(
    detector: clnf_torch.LandmarkDetector, frames: torch.Tensor, faces: int, repeats: int, device: str
) -> float:
    """Seconds per face of fits from where the faces were a frame ago."""
    params = detector.fit(frames, boxes(faces)).params
    return seconds(lambda: detector.fit_from_params(frames, params), repeats, device) / faces


def _ms(each: float) -> str:
    """Milliseconds, printed."""
    return f"{1e3 * each:.1f}"
