"""Time of whole detections, of tracked frames, and of pictures whose faces must be found first."""

from collections.abc import Callable
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

import clnf_torch
from benchmarks.machine import seconds
from benchmarks.material import ROOT, boxes, clnf_bundle, photograph, picture, real_size_bundle
from benchmarks.tables import table
from clnf_torch.detection import FaceDetector

FACES = (1, 32)
Runs = dict[str, Callable[[], object]]


def report(device: str, repeats: int) -> list[Table]:
    """The tables of this benchmark."""
    ours = {name: ROOT / "weights" / f"{name}.pt" for name in ("default", "small", "free")}
    openface = {"CE-CLM, real size": real_size_bundle(), "CLNF": clnf_bundle()}
    with torch.inference_mode():
        return [_of_boxes(ours | openface, device, repeats), _of_pictures(ours, device, repeats)]


def _of_boxes(bundles: dict[str, Path], device: str, repeats: int) -> Table:
    """Fits of faces whose boxes are known, and of faces that were near their place a frame ago."""
    frames = photograph().to(device)
    rows = []
    for name, path in bundles.items():
        detector = clnf_torch.load(path, device)
        few, many = (_fits(detector, frames, count) for count in FACES)
        for what in few:
            each = [seconds(fits[what], repeats, device) / n for fits, n in zip((few, many), FACES, strict=True)]
            rows.append((f"{name}: {what}", *map(_ms, each)))
    columns = ("what", *(f"{count} faces" for count in FACES))
    return table("Faces whose boxes are known, ms of a face", columns, rows)


def _fits(detector: clnf_torch.LandmarkDetector, frames: Tensor, count: int) -> Runs:
    """The ways to fit so many faces."""
    params = detector.fit(frames, boxes(count)).params
    return {
        "landmarks alone": lambda: detector.fit(frames, boxes(count), parts=False, validate=False),
        "with eyes and validation": lambda: detector.fit(frames, boxes(count)),
        "tracked frame": lambda: detector.fit_from_params(frames, params),
    }


def _of_pictures(bundles: dict[str, Path], device: str, repeats: int) -> Table:
    """One face in a picture of 1280 x 720, found by the face detector in the model's bundle, or by another one."""
    frame = picture().to(device)
    pairs = {name: (path, path) for name, path in bundles.items()}
    pairs["default, faces by BlazeFace"] = bundles["default"], Path("blazeface")
    rows = []
    for name, (model, finder) in sorted(pairs.items()):
        runs = _whole(clnf_torch.load(model, device), clnf_torch.load_face_detector(finder, device), frame)
        rows.append((name, *(_ms(seconds(run, repeats, device)) for run in runs.values())))
    return table("A picture of 1280 x 720 with one face, ms", ("model", *runs), rows)


def _whole(detector: clnf_torch.LandmarkDetector, finder: FaceDetector, frame: Tensor) -> Runs:
    """The ways from a picture to its face."""

    def landmarks() -> object:
        found = finder.detect(frame)
        return detector.fit(frame, found.boxes, found.image_index, parts=False, validate=False)

    return {
        "face found": lambda: finder.detect(frame),
        "and its landmarks": landmarks,
        "all of clnf_torch.detect": lambda: clnf_torch.detect(frame, detector, face_detector=finder),
    }


def _ms(each: float) -> str:
    """Milliseconds, printed."""
    return f"{1e3 * each:.1f}"
