"""How many faces are found and how well their boxes sit: our default face detector beside OpenFace's."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table

from benchmarks.material import ROOT, SHARED
from benchmarks.scenes import FrameBatch, scenes
from benchmarks.tables import table
from clnf_torch.converters.openface.mtcnn import PLACE, convert_mtcnn
from clnf_torch.detection import MTCNN, BlazeFaceConfig, FaceBoxes, FaceDetector, load_face_detector
from clnf_torch.detection.mtcnn import Factors
from clnf_torch.geometry.boxes import box_iou
from clnf_torch.training.data.boxes import detect_annotated, fit_factors

DEFAULT = ROOT / "weights" / "default.pt"
SHORT_RANGE = BlazeFaceConfig(network="short_range")
SAME = 0.5  # overlap from which a face counts as found
SMALL, ALL_SIZES = (16.0, 80.0), (24.0, 240.0)  # widths of faces, pixels
# Frames of a video, height and width, with every so manieth face in widths of these bands
FRAME, FRAME_EVERY, FRAME_WIDTHS = (720, 1280), 6, ((30.0, 45.0), (45.0, 70.0), (70.0, 110.0), (110.0, 170.0))
TRAINING, HELD_OUT = ("helen_train", "lfpw_train"), "afw"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a detector made of a scene."""

    overlap: float  # of the best box with the annotated face
    centre: float  # distance of their centres, in sides of a square as large as the face
    size: float  # square root of the ratio of their areas
    beside: int  # further finds in the photograph, whose other faces nobody has annotated
    outside: int  # finds in the shuffled background, which are all wrong


def report(device: str, path: Path = DEFAULT) -> list[Table]:
    """The table of recall and errors, on faces that nothing was fitted to."""
    detectors: dict[str, FaceDetector] = {
        "OpenFace's": MTCNN.from_record(convert_mtcnn(SHARED / "models" / "openface" / PLACE)).to(device),
        "ours": load_face_detector(path, device),
        "BlazeFace, full range": load_face_detector("blazeface", device),
        "BlazeFace, short range": load_face_detector("blazeface", device, config=SHORT_RANGE),
    }
    sets: dict[str, tuple[Iterable[FrameBatch], int]] = {
        "as they are": (scenes(HELD_OUT), 0),
        _named(SMALL): (scenes(HELD_OUT, SMALL), 0),
        "turned by 90 degrees": (scenes(HELD_OUT), 1),
        "upside down": (scenes(HELD_OUT), 2),
    }
    for widths in FRAME_WIDTHS:
        sets[f"{_named(widths)}, 1280 x 720"] = scenes(HELD_OUT, widths, every=FRAME_EVERY, frame=FRAME), 0
    rows = []
    for faces, (batches, turns) in sets.items():
        made: dict[str, list[tuple[Outcome, float]]] = {name: [] for name in detectors}
        for scene in batches:
            turned = scene.turned(turns)
            for name, detector in detectors.items():
                made[name].append(_outcome_and_time(detector, turned))
        rows += [(name, faces, *_summary(outcomes)) for name, outcomes in made.items()]
    columns = ("detector", "faces", "found", "overlap", "centre", "size", "beside", "outside", "CPU ms")
    return [table(f"Face detection, {HELD_OUT}", columns, rows)]


def _named(widths: tuple[float, float]) -> str:
    """Widths of faces."""
    return f"{widths[0]:.0f} to {widths[1]:.0f} px wide"


def calibration(device: str, path: Path = DEFAULT) -> list[Table]:
    """The table of the four numbers from the networks' boxes to the landmarks' extent, fitted to training faces."""
    used = load_face_detector(path, device)
    plain = MTCNN(used.proposer, used.refiner, used.output, used.config, (0.0, 0.0, 1.0, 1.0))
    sets = {"as they are": None, f"{ALL_SIZES[0]:.0f} to {ALL_SIZES[1]:.0f} px wide": ALL_SIZES}
    found = {
        f"{split}, {faces}": detect_annotated(plain, ((one.image, one.extent) for one in scenes(split, widths)))
        for split in TRAINING
        for faces, widths in sets.items()
    }
    found["all of them"] = (
        torch.cat([boxes for boxes, _ in found.values()]),
        torch.cat([e for _, e in found.values()]),
    )
    rows = [(name, str(len(boxes)), *_printed(fit_factors(boxes, extents))) for name, (boxes, extents) in found.items()]
    rows.append(("in the bundle", "", *_printed(used.to_landmarks)))
    return [table("From boxes to landmarks", ("faces", "found", "right", "down", "wider", "higher"), rows)]


def _printed(factors: Factors) -> list[str]:
    """Four numbers."""
    return [f"{factor:.4f}" for factor in factors]


def _outcome_and_time(detector: FaceDetector, scene: FrameBatch) -> tuple[Outcome, float]:
    """What a detector makes of a scene, and the processor's seconds that it takes."""
    start = time.process_time()
    found = detector.detect(scene.image[None])
    return outcome(found, scene), time.process_time() - start


def outcome(found: FaceBoxes, scene: FrameBatch) -> Outcome:
    """Compares finds with the annotated face."""
    boxes = found.boxes.cpu().double()
    common = box_iou(boxes, scene.extent)
    best = int(common.argmax()) if len(boxes) and common.max() >= SAME else None
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    inside = ((middle >= scene.place[:2]) & (middle < scene.place[:2] + scene.place[2:])).all(1)
    counts = {"beside": int(inside.sum()) - (best is not None), "outside": int((~inside).sum())}
    if best is None:
        return Outcome(overlap=0.0, centre=0.0, size=1.0, **counts)
    side = scene.extent[2:].prod().sqrt()
    off = middle[best] - (scene.extent[:2] + scene.extent[2:] / 2)
    size = boxes[best, 2:].prod().sqrt() / side
    return Outcome(overlap=float(common[best]), centre=float(off.norm() / side), size=float(size), **counts)


def _summary(made: Iterable[tuple[Outcome, float]]) -> list[str]:
    """Shares, means over the found faces, sums, and the mean time."""
    outcomes, seconds = zip(*made, strict=True)
    found = [one for one in outcomes if one.overlap >= SAME]
    mean = {
        "overlap": _mean(one.overlap for one in found),
        "centre": _mean(one.centre for one in found),
        "size": _mean(abs(one.size - 1) for one in found),
    }
    return [
        f"{len(found)} of {len(outcomes)}",
        f"{mean['overlap']:.3f}",
        f"{100 * mean['centre']:.1f} %",
        f"{100 * mean['size']:.1f} %",
        str(sum(one.beside for one in outcomes)),
        str(sum(one.outside for one in outcomes)),
        f"{1e3 * _mean(seconds):.0f}",
    ]


def _mean(values: Iterable[float]) -> float:
    """The mean, NaN for none."""
    return float(torch.tensor(list(values), dtype=torch.float64).mean())
