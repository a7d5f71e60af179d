"""Part 1, is it right: what is built upon fits, on the CPU and on the card: face detection, tracking, repair."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.agreement import DOUBLE, REDUCED, SINGLE, Bound, compare_points
from benchmarks.gpu.correctness import PART, Places, moved
from benchmarks.gpu.faces import SIDE
from benchmarks.gpu.machine import tf32
from benchmarks.gpu.material import Material
from benchmarks.gpu.recorder import Recorder
from clnf_torch import FaceBoxes, FaceDetector, VideoTracker, load_face_detector, repair_landmarks
from tests.mtcnns import make_mtcnn

TABLE = "functions, CPU and card"


def measure_functions(recorder: Recorder, material: Material, places: Places) -> None:
    """Records face detection, tracking and repair."""
    images = material.faces.images
    noise = torch.rand(2, 3, 90, 120, generator=torch.Generator().manual_seed(3)) * 255
    steps = 3 if material.quick else 12
    rows = {
        "MTCNN, float32": lambda: detection(places, images, torch.float32, SINGLE, False),
        "MTCNN, TF32": lambda: detection(places, images, torch.float32, REDUCED, True),
        "MTCNN, float64": lambda: detection(places, images, torch.float64, DOUBLE, False),
        "MTCNN that is unsure of everything, float64": lambda: random_detection(places, noise),
        "tracker, float32": lambda: tracking(places, material, torch.float32, SINGLE, steps),
        "tracker, float64": lambda: tracking(places, material, torch.float64, DOUBLE, steps),
        "repair, float32": lambda: repair(places, material, torch.float32, SINGLE),
        "repair, float64": lambda: repair(places, material, torch.float64, DOUBLE),
    }
    for name, run in rows.items():
        recorder.measure(PART, TABLE, name, run)


def detection(places: Places, images: Tensor, dtype: torch.dtype, bound: Bound, reduced: bool) -> dict[str, Any]:
    """Faces that the default detector finds in gray images (F, H, W), with TF32 on the card or without."""

    def run(device: torch.device) -> FaceBoxes:
        return load_face_detector(device=device, dtype=dtype).detect(images[:, None])

    with tf32(False):
        expected = places.expected(run)
    with tf32(reduced):
        found = places.found(run)
    return compare_boxes(found, expected, bound)


def random_detection(places: Places, images: Tensor) -> dict[str, Any]:
    """Faces that random networks find in noise: dozens, so that every stage has work."""
    return compare_boxes(
        places.found(lambda device: make_mtcnn().to(device).detect(images)),
        places.expected(lambda device: make_mtcnn().to(device).detect(images)),
        DOUBLE,
    )


def compare_boxes(found: FaceBoxes, expected: FaceBoxes, bound: Bound) -> dict[str, Any]:
    """The values of a row about detected faces: distances of the boxes' corners, if equally many were found."""
    counts = {"faces": len(expected.boxes), "on_the_card": len(found.boxes)}
    if len(found.boxes) != len(expected.boxes):
        return {**counts, "within": False}
    values = compare_points(_corners(found.boxes), _corners(expected.boxes), bound)
    in_same_image = bool((found.image_index.cpu() == expected.image_index.cpu()).all())
    apart = (found.score.cpu() - expected.score.cpu()).abs()
    score = float(apart.max()) if len(apart) else 0.0
    return {**counts, "score_apart": score, **values, "within": values["within"] and in_same_image}


def tracking(places: Places, material: Material, dtype: torch.dtype, bound: Bound, steps: int) -> dict[str, Any]:
    """Painted faces that wander through a few videos; with the face detector, the validator and many faces a video."""
    videos = material.faces.images[:2]

    def run(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        face_detector: FaceDetector = load_face_detector(device=device, dtype=dtype)
        tracker = VideoTracker(moved(material.default(dtype), device), face_detector)
        state, landmarks, identity, success = tracker.begin(len(videos)), [], [], []
        for step in range(steps):
            state, result = tracker.step(state, videos.roll((step, 2 * step), (1, 2)))
            landmarks.append(result.faces.landmarks.cpu())
            identity.append(result.identity.cpu())
            success.append(result.success.cpu())
        return torch.cat(landmarks), torch.cat(identity), torch.cat(success)

    with tf32(False):
        expected, found = places.expected(run), places.found(run)
    values = compare_points(found[0], expected[0], bound)
    same = [bool(torch.equal(one, other)) for one, other in zip(found[1:], expected[1:], strict=True)]
    faces = {"faces": len(expected[1]), "on_the_card": len(found[1]), "successes": int(expected[2].sum())}
    values["within"] = values["within"] and all(same)
    return {**faces, "same_identities": same[0], "same_success": same[1], **values}


def repair(places: Places, material: Material, dtype: torch.dtype, bound: Bound) -> dict[str, Any]:
    """Landmarks of which every second face's are wrong, fitted again."""
    faces = material.faces
    landmarks = faces.landmarks.to(dtype, copy=True)
    landmarks[::2, 36:48] += torch.tensor([0.3 * SIDE, 0.1 * SIDE], dtype=dtype)  # both eyes, off the face
    landmarks[::2, 8] = torch.nan

    def run(device: torch.device) -> tuple[Tensor, Tensor]:
        refined = repair_landmarks(
            landmarks.to(device),
            moved(material.default(dtype), device),
            faces.images[:, None],
            boxes=faces.boxes.to(device),
            multi_view=not material.quick,
        )
        return refined.landmarks.cpu(), refined.refitted.cpu()

    with tf32(False):
        expected, found = places.expected(run), places.found(run)
    values = compare_points(found[0], expected[0], bound)
    same = bool(torch.equal(found[1], expected[1]))
    counts = {"faces": len(landmarks), "refitted": int(expected[1].sum()), "same_refitted": same}
    return {**counts, **values, "within": values["within"] and same}


def _corners(boxes: Tensor) -> Tensor:
    """Upper left and lower right corners (K, 2, 2) of boxes (K, 4)."""
    return torch.stack((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), dim=1)
