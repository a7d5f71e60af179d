"""Landmark quality: whether landmarks, whoever found them, can be those of a face, and of the face in the image."""

import functools
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry.constants import constant
from clnf_torch.geometry.frames import Frames, as_tensor
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.models.pdm import PDM
from clnf_torch.pipeline.detector import LandmarkDetector
from clnf_torch.pipeline.inputs import check_points, read_images
from clnf_torch.pipeline.loading import load
from clnf_torch.quality.agreement import expert_agreement
from clnf_torch.quality.checks import Evidence, ratio_of, run_checks, usable_boxes
from clnf_torch.quality.config import QualityConfig
from clnf_torch.quality.result import LandmarkQuality
from clnf_torch.quality.robust_fit import robust_fit

# Share of the landmarks that a shape can be fitted to
ENOUGH = 1 / 3
# Pixels; what lies farther away counts as not finite
LARGEST = 1e6


@torch.no_grad()
@in_own_precision
def check_landmark_quality(
    landmarks: Any,
    detector: LandmarkDetector | None = None,
    *,
    frames: Frames | None = None,
    image_index: Any = None,
    size: tuple[float, float] | None = None,
    boxes: Any = None,
    previous: Any = None,
    following: Any = None,
    confidence: Any = None,
    config: QualityConfig | None = None,
) -> LandmarkQuality:
    """Judges landmarks that any method found. What is not given is not checked.

    Args:
        landmarks: iBUG's 68 points, pixels (x, y), shape (B, 68, 2), as a tensor or an array, as all that is given of
            the faces. NaN: the method does not know.
        detector: Its shape model says which faces there are; given frames, its patch experts say what they see. None:
            the one that is installed with the package, on the landmarks' device.
        frames: Gray (F, H, W) or RGB (F, 3, H, W) images, as for `LandmarkDetector.fit`.
        image_index: Index of each face's image in `frames`, int64, shape (B,); may be left out for one image, or for
            one face per image.
        size: Height and width of the images, pixels, where no frames are given.
        boxes: The extent of each face's landmarks (x, y, width, height), pixels, shape (B, 4). Rows with a NaN are
            unknown.
        previous: The same faces' landmarks one frame earlier, shape (B, 68, 2), NaN where unknown; see
            `adjacent_frames`.
        following: One frame later. A face that is near either one has not jumped.
        confidence: The other method's own, from 0 to 1, shape (B,) or (B, 68).
        config: The thresholds.

    Returns:
        One row per face.

    Raises:
        ValueError: The shapes or types of the arguments are wrong, or the detector has other landmarks.
    """
    landmarks = as_tensor("landmarks", landmarks)
    detector, config = detector or _installed(str(landmarks.device)), config or QualityConfig()
    pdm = detector.model.pdm
    if pdm.num_landmarks != NUM_LANDMARKS:
        raise ValueError(f"the detector finds {pdm.num_landmarks} landmarks; quality is judged of {NUM_LANDMARKS}")
    landmarks = check_points("landmarks", landmarks, (NUM_LANDMARKS, 2), like=pdm.mean)
    images, has_image = None, None
    if frames is not None:
        images, has_image = read_images(frames, image_index, len(landmarks), landmarks.device, detector)
        size = images.size
    elif size is not None:
        size = _checked_size(size)
    boxes = None if boxes is None else _of_each_face("boxes", boxes, (4,), landmarks)
    faces = _fit_shape(pdm, landmarks, size, boxes)
    faces = replace(
        faces,
        adjacent=_adjacent(landmarks, previous=previous, following=following),
        confidence=None if confidence is None else _mean_confidence(confidence, landmarks),
    )
    agreement = torch.full_like(faces.shape.residuals, torch.nan)
    if images is not None:
        agreement, mean = _agreement(detector, images, faces)
        min_agreement = config.min_agreement_of(detector.model.family)
        faces = replace(faces, mean_agreement=mean, min_agreement=min_agreement, has_image=has_image)
    return LandmarkQuality(
        violation=run_checks(faces, config),
        outliers=faces.shape.residuals > config.outlier_distance,
        expert_agreement=agreement,
        shape=faces.shape,
    )


@functools.cache
def _installed(device: str) -> LandmarkDetector:
    """The detector that is installed with the package."""
    return load(device=device)


def _fit_shape(pdm: PDM, landmarks: Tensor, size: tuple[float, float] | None, boxes: Tensor | None) -> Evidence:
    """The shape that most of the landmarks agree on, and which landmarks are known and where."""
    # NaN is not
    known = (landmarks.abs() < LARGEST).all(-1)
    outside_image = None if size is None else _outside_image(landmarks, size)
    outside_box = None if boxes is None else _outside_box(landmarks, boxes)
    inside = torch.ones_like(known)
    for outside in (outside_image, outside_box):
        inside = inside if outside is None else inside & ~outside
    shape = robust_fit(pdm, landmarks, _trusted(known, inside))
    return Evidence(
        # Unknown points count as where the others would have them; a row is poor for them already
        landmarks=torch.where(known[..., None], landmarks, shape.landmarks),
        known=known,
        shape=shape,
        outside_image=outside_image,
        boxes=boxes,
        outside_box=outside_box,
    )


def _trusted(known: Tensor, inside: Tensor) -> Tensor:
    """Landmarks (B, N) that the shape is fitted to: those inside, or all that are known where few are inside."""
    enough = ratio_of(known & inside) >= ENOUGH
    return known & (inside | ~enough[:, None])


def _outside_image(landmarks: Tensor, size: tuple[float, float]) -> Tensor:
    """Landmarks (B, N) beyond the outer edges of an image's pixels."""
    edge = constant((size[1] - 0.5, size[0] - 0.5), landmarks)
    return ((landmarks < -0.5) | (landmarks > edge)).any(-1)


def _outside_box(landmarks: Tensor, boxes: Tensor) -> Tensor:
    """Landmarks (B, N) outside boxes half again as large as given; none where a box is unusable."""
    corner, sides = boxes[:, None, :2], boxes[:, None, 2:]
    out = ((landmarks < corner - sides / 4) | (landmarks > corner + 5 / 4 * sides)).any(-1)
    return out & usable_boxes(boxes)[:, None]


def _adjacent(like: Tensor, **frames: Any) -> tuple[Tensor, ...]:
    """The landmarks of those adjacent frames that are given."""
    return tuple(
        _of_each_face(f"{name} landmarks", one, (NUM_LANDMARKS, 2), like)
        for name, one in frames.items()
        if one is not None
    )


def _of_each_face(name: str, values: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Coordinates (B, *shape) of faces with landmarks (B, N, 2), checked as by `check_points`.

    Raises:
        ValueError: They have another shape, or are of another number of faces.
    """
    values = check_points(name, values, shape, like=like)
    if len(values) != len(like):
        raise ValueError(f"{name} have {len(values)} rows for {len(like)} faces; give one per face, NaN where unknown")
    return values


def _checked_size(size: Any) -> tuple[float, float]:
    """Height and width of images.

    Raises:
        ValueError: They are no two numbers that are not negative.
    """
    try:
        height, width = map(float, size)
    except (TypeError, ValueError):
        height = width = math.nan
    if not (0 <= height < math.inf and 0 <= width < math.inf):
        raise ValueError(f"size is {size!r:.60}; expected height and width of the images, pixels") from None
    return height, width


def _agreement(detector: LandmarkDetector, images: ImageBatch, faces: Evidence) -> tuple[Tensor, Tensor]:
    """The agreement of each landmark's expert, (B, N), and the mean of those visible in the face's view, (B,)."""
    params = faces.shape.params
    agreement, visible = expert_agreement(detector.model, detector.numerics, images, params, faces.landmarks)
    return agreement, (agreement * faces.known).sum(-1) / visible.sum(-1).clamp_min(1)


def _mean_confidence(confidence: Any, landmarks: Tensor) -> Tensor:
    """The confidence of each face (B,), or the mean of its landmarks' confidences (B, 68), as the landmarks' numbers.

    Raises:
        ValueError: It has another shape.
    """
    confidence, faces = as_tensor("confidence", confidence), len(landmarks)
    if confidence.is_complex() or confidence.shape not in ((faces,), (faces, NUM_LANDMARKS)):
        expected = f"real numbers of shape ({faces},) or ({faces}, {NUM_LANDMARKS})"
        found = f"shape {tuple(confidence.shape)} and type {confidence.dtype}"
        raise ValueError(f"confidence has {found}; expected {expected}")
    confidence = confidence.to(landmarks)
    return confidence if confidence.ndim == 1 else confidence.mean(-1)
