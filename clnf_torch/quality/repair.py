"""Repair of another method's landmarks: those of poor faces are fitted again, inliers among them stay."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from clnf_torch.fitting.config import FitConfig
from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.frames import Frames, as_frames, as_tensor, warn_of_unit_range
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.geometry.precision import in_own_precision
from clnf_torch.geometry.records import put_rows, take_rows
from clnf_torch.pipeline.detector import LandmarkDetector
from clnf_torch.pipeline.inputs import check_points, image_index_of_each
from clnf_torch.pipeline.result import FitResult
from clnf_torch.quality.check import LARGEST, check_landmark_quality
from clnf_torch.quality.checks import REASONS
from clnf_torch.quality.config import QualityConfig
from clnf_torch.quality.result import LandmarkQuality, RepairedLandmarks

# Mm, from the shape that most of the given landmarks agree on; mean of annotated landmarks 2
NEAR_SHAPE = 5.0
# Mm, from where the fit has it: an expert's view of a jaw may differ so much from a person's
NEAR_FIT = 8.0
# Least agreement of the landmark's own expert; annotated landmarks 0.9
MIN_AGREEMENT = 0.7
# Least share of inliers among a face's landmarks
MIN_INLIERS = 0.4
# Least number of known landmarks that a fit starts from: the pose has six numbers, the shape needs some more
MIN_KNOWN = 8
# A fit far from all that was given may be anywhere: the validator must consent. As pen marks deceive it now and then,
# it need not if such a share of the given landmarks lies within NEAR_FIT of the fit,
MIN_SUPPORT = 0.25
# or if the experts disagree by no more than this share of what makes a face poor: right fits 0.3, others from 0.42 on
CLEARLY_SEEN = 0.36
# Taken off the log-likelihood of a fit that is poor itself: more than fits differ by
POOR_PENALTY = 1e4


@torch.no_grad()
@in_own_precision
def repair_landmarks(
    landmarks: Any,
    detector: LandmarkDetector,
    frames: Frames,
    image_index: Any = None,
    *,
    boxes: Any = None,
    previous: Any = None,
    following: Any = None,
    confidence: Any = None,
    preset: str | FitConfig = "default",
    multi_view: bool | None = True,
    keep_inliers: bool = True,
    config: QualityConfig | None = None,
) -> RepairedLandmarks:
    """Fits the landmarks of poor faces again, and leaves those of the others exactly as they are.

    A poor face is fitted from the shape that most of its landmarks agree on, from the extent of that shape, and from
    the given box; where fewer than `MIN_KNOWN` landmarks are known, from the box alone. Of the fits that are not poor
    themselves the likeliest is taken; one that is far from most given landmarks needs the validator's consent, or that
    of the experts. Where there is none, the face stays as it is and is `unrepaired`. Where most landmarks of a poor
    face are good, as in all but crossed eyes, these inliers stay.

    Args:
        landmarks: Another method's 68 points, pixels (x, y), shape (B, 68, 2), as a tensor or an array, as all that is
            given of the faces; NaN where it knows none.
        detector: Fits; any family of patch experts.
        frames: Gray (F, H, W) or RGB (F, 3, H, W) images, uint8 or floating point in 0 to 255.
        image_index: Index of each face's image in `frames`, int64, shape (B,). May be left out for one image, or for
            one face per image.
        boxes: Face boxes as for `LandmarkDetector.fit`, pixels, shape (B, 4); rows with a NaN are unknown.
        previous: As for `check_landmark_quality`.
        following: As for `check_landmark_quality`.
        confidence: As for `check_landmark_quality`.
        preset: As for `LandmarkDetector.fit`; its regularisation must be one number for all faces.
        multi_view: As for `LandmarkDetector.fit`, of the fits from boxes.
        keep_inliers: Leave inliers among a poor face's landmarks where they are; otherwise all 68 are fitted again.
        config: Thresholds of the quality.

    Returns:
        One row per face.

    Raises:
        ValueError: The shapes or types of the arguments are wrong, or the detector has other landmarks.
    """
    if getattr(getattr(preset, "regularisation", None), "ndim", 0):
        raise ValueError("preset has a regularisation per face; only poor faces are fitted again: give one number")
    landmarks = as_tensor("landmarks", landmarks)
    given = check_points("landmarks", landmarks, (NUM_LANDMARKS, 2), like=detector.model.pdm.mean)
    # What is fitted lies between whole pixels
    landmarks = landmarks.view(given.shape) if landmarks.is_floating_point() else given.to(landmarks.device)
    boxes = None if boxes is None else check_points("boxes", boxes, (4,), like=given)
    frames = as_frames(frames)
    warn_of_unit_range(detector, frames)
    gray = to_gray(frames.to(given.device))[:, None]
    image_index = image_index_of_each(gray, image_index, len(given)).to(given.device)
    images = _FaceImages(detector, gray, image_index, config)
    before = check_landmark_quality(
        given,
        detector,
        frames=gray,
        image_index=image_index,
        boxes=boxes,
        previous=previous,
        following=following,
        confidence=confidence,
        config=config,
    )
    # A read to the host
    rows = before.poor.nonzero().squeeze(-1)
    poor, judged = images.take(rows), take_rows(before, rows)
    known = (given[rows].abs() < LARGEST).all(-1).sum(-1) >= MIN_KNOWN
    refits = _refit(poor, given[rows], judged, known, None if boxes is None else boxes[rows], preset, multi_view)
    # Another one: a mask would be read for each of the records' tensors
    good = (refits.usable & ~refits.quality.poor).nonzero().squeeze(-1)
    rows, refits, judged = rows[good], take_rows(refits, good), take_rows(judged, good)
    inliers = torch.zeros_like(judged.outliers)
    if keep_inliers:
        inliers = ~judged.reasons["unsure"][:, None] & inliers_of(given[rows], refits.landmarks, judged)
        refits, inliers = _with_inliers(refits, given[rows], inliers, images.take(rows))
    return RepairedLandmarks(
        landmarks=_replaced(landmarks, rows, refits.landmarks, inliers),
        refitted=torch.zeros_like(before.poor).index_fill(0, rows, True),
        inliers=torch.ones_like(before.outliers).index_copy(0, rows, inliers),
        before=before,
        after=put_rows(before, rows, refits.quality),
    )


def inliers_of(given: Tensor, fitted: Tensor, quality: LandmarkQuality) -> Tensor:
    """Given landmarks that the other given ones, the fit, and the landmark's own expert all agree with.

    Args:
        given: Landmarks of another method, pixels, shape (B, N, 2).
        fitted: Where the fit has them, pixels, shape (B, N, 2).
        quality: Of the given ones.

    Returns:
        Bool, shape (B, N); none of a face that has too few.
    """
    distance = torch.linalg.vector_norm(given - fitted, dim=-1) / quality.shape.params.scale[:, None]
    near_shape = quality.shape.residuals < NEAR_SHAPE
    inliers = near_shape & (quality.expert_agreement > MIN_AGREEMENT) & (distance < NEAR_FIT)
    return inliers & (inliers.float().mean(-1, keepdim=True) >= MIN_INLIERS)


def adjacent_frames(landmarks: Any, frame: Any, identity: Any = None) -> tuple[Tensor, Tensor]:
    """Landmarks of each face in the frames before and after, for `check_landmark_quality`.

    Args:
        landmarks: Pixels, shape (B, N, 2), in any order, as a tensor or an array, as the other arguments.
        frame: Number of each face's frame in its video, int64, shape (B,).
        identity: Which face it is, or which face of which video, int64, shape (B,); default: all are one face.

    Returns:
        Both of shape (B, N, 2); NaN where the face is not in that frame.

    Raises:
        ValueError: The arguments have other shapes, or are no real numbers.
    """
    landmarks, frame = as_tensor("landmarks", landmarks), as_tensor("frame", frame)
    identity = torch.zeros_like(frame) if identity is None else as_tensor("identity", identity)
    if landmarks.ndim != 3 or landmarks.shape[-1] != 2 or not _is_real(landmarks):
        found = f"{landmarks.dtype} of shape {tuple(landmarks.shape)}"
        raise ValueError(f"landmarks are {found}; expected real numbers of shape (B, N, 2)")
    for name, numbers in (("frame", frame), ("identity", identity)):
        if numbers.shape != landmarks.shape[:1] or not _is_real(numbers):
            found = f"{numbers.dtype} of shape {tuple(numbers.shape)}"
            raise ValueError(f"{name} is {found}; expected one whole number per face, ({len(landmarks)},)")
    _, number = identity.unique(return_inverse=True)
    first = frame.amin() if frame.numel() else 0
    time = frame - first + 1
    key = number * (time.amax() + 2 if frame.numel() else 1) + time
    order = key.argsort(stable=True)
    return _at(landmarks, key[order], order, key - 1), _at(landmarks, key[order], order, key + 1)


def _is_real(values: Tensor) -> bool:
    """Whether a tensor holds real numbers."""
    return not values.is_complex() and values.dtype != torch.bool


def _at(landmarks: Tensor, sorted_keys: Tensor, order: Tensor, keys: Tensor) -> Tensor:
    """Landmarks of the rows with these keys (B,); NaN where there is none."""
    place = torch.searchsorted(sorted_keys, keys).clamp_max(max(0, len(sorted_keys) - 1))
    exists = sorted_keys[place] == keys
    return torch.where(exists[:, None, None], landmarks[order[place]], torch.nan)


@dataclass(frozen=True)
class _FaceImages:
    """The images of B faces, and what judges landmarks in them."""

    detector: LandmarkDetector
    gray: Tensor  # (F, 1, H, W)
    image_index: Tensor  # (B,) int64
    config: QualityConfig | None

    def take(self, rows: Tensor) -> "_FaceImages":
        """Those of some faces."""
        return replace(self, image_index=self.image_index[rows])

    def check(self, landmarks: Tensor, times: int = 1) -> LandmarkQuality:
        """Quality of landmarks (times * B, N, 2), the faces' rows being repeated so many times."""
        image_index = self.image_index.repeat(times)
        return check_landmark_quality(
            landmarks, self.detector, frames=self.gray, image_index=image_index, config=self.config
        )


@dataclass(frozen=True)
class _Refits:
    """The fits that were chosen, one for each face."""

    landmarks: Tensor  # (B, N, 2) pixels
    usable: Tensor  # (B,) bool: a fit succeeded
    quality: LandmarkQuality


def _refit(
    images: _FaceImages,
    given: Tensor,
    quality: LandmarkQuality,
    known: Tensor,
    boxes: Tensor | None,
    preset: str | FitConfig,
    multi_view: bool | None,
) -> _Refits:
    """The likeliest of several fits of each face, of those that are not poor where there are any.

    They start from the robust fit and from its extent, where enough landmarks are known (B,), and from the given box.
    """
    detector, gray, image_index = images.detector, images.gray, images.image_index
    starts = [box_around(quality.shape.landmarks)]
    if boxes is not None:
        starts.append(torch.where(boxes.isfinite(), boxes, torch.nan).to(starts[0]))
    fits = [detector.fit_from_params(gray, quality.shape.params, image_index, preset=preset)]
    fits += [detector.fit(gray, box, image_index, preset=preset, multi_view=multi_view) for box in starts]
    landmarks = torch.cat([fit.landmarks for fit in fits])
    fitted = images.check(landmarks, len(fits))
    likelihood = torch.cat([fit.likelihood for fit in fits])
    started = (known, known, torch.ones_like(known))
    # What failed has no confidence
    success = torch.cat([(fit.confidence > 0) & one for fit, one in zip(fits, started, strict=False)])
    clear = fitted.violation[:, REASONS.index("unlikely")] < CLEARLY_SEEN
    success &= clear | torch.cat([fit.success | _supported(fit, given) for fit in fits])
    usable = success & landmarks.isfinite().all(-1).all(-1) & likelihood.isfinite()
    rank = torch.where(usable, likelihood - POOR_PENALTY * fitted.poor, -torch.inf)
    choice = rank.view(len(fits), -1).argmax(0)
    row = choice * len(image_index) + torch.arange(len(image_index), device=image_index.device)
    return take_rows(_Refits(landmarks, usable, fitted), row)


def _supported(fit: FitResult, given: Tensor) -> Tensor:
    """Fits near enough of the given landmarks (B, N, 2), bool, shape (B,)."""
    distance = torch.linalg.vector_norm(given - fit.landmarks, dim=-1) / fit.params.scale[:, None]
    return (distance < NEAR_FIT).float().mean(-1) >= MIN_SUPPORT


def _with_inliers(refits: _Refits, given: Tensor, inliers: Tensor, images: _FaceImages) -> tuple[_Refits, Tensor]:
    """Fits in which given inliers (B, N) stay, and which stay: none of a face that would be poor with them."""
    mixed = torch.where(inliers[..., None], given, refits.landmarks)
    quality = images.check(mixed)
    good = ~quality.poor
    # A read to the host
    rows = good.nonzero().squeeze(-1)
    landmarks = torch.where(good[:, None, None], mixed, refits.landmarks)
    quality = put_rows(refits.quality, rows, take_rows(quality, rows))
    return _Refits(landmarks, refits.usable, quality), inliers & good[:, None]


def _replaced(landmarks: Tensor, rows: Tensor, fitted: Tensor, inliers: Tensor) -> Tensor:
    """The landmarks as they were given, with fitted ones in some rows (K,) where they are no inliers (K, N)."""
    repaired, rows = landmarks.clone(), rows.to(landmarks.device)
    keep = inliers[..., None].to(landmarks.device)
    repaired[rows] = torch.where(keep, landmarks[rows], fitted.to(landmarks))
    return repaired
