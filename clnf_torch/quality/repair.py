"""Another method's landmarks, of which those that cannot be right are fitted again."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.config import FitConfig
from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.gray import to_gray
from clnf_torch.pipeline.detector import LandmarkDetector
from clnf_torch.pipeline.inputs import check_points, frame_of_each
from clnf_torch.pipeline.result import FitResult
from clnf_torch.quality.check import LANDMARKS, check_landmark_quality
from clnf_torch.quality.config import QualityConfig
from clnf_torch.quality.result import LandmarkQuality, RepairedLandmarks

# Mm, from the shape that most of the given landmarks agree on; mean of annotated landmarks 2
NEAR_SHAPE = 5.0
# Mm, from where the fit has it: an expert's view of a jaw may differ so much from a person's
NEAR_FIT = 8.0
# By the landmark's own expert; annotated landmarks 0.9
SUPPORT = 0.7
# Of the landmarks: with fewer, the agreement is no agreement
ENOUGH = 0.4


def good_landmarks(given: Tensor, fitted: Tensor, quality: LandmarkQuality) -> Tensor:
    """Landmarks that all agree on: the other given ones, the fit, and the landmark's own expert.

    Args:
        given: Landmarks of another method, pixels, shape (B, N, 2).
        fitted: Where the fit has them, shape (B, N, 2).
        quality: Of the given ones.

    Returns:
        Bool, shape (B, N); none of a face of which too few are good.
    """
    apart = torch.linalg.vector_norm(given - fitted, dim=-1) / quality.shape.params.scale[:, None]
    good = (quality.shape.residuals < NEAR_SHAPE) & (quality.support > SUPPORT) & (apart < NEAR_FIT)
    return good & (good.float().mean(-1, keepdim=True) >= ENOUGH)


def neighbours(landmarks: Tensor, frame: Tensor, identity: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Landmarks of each face in the frames before and after, for `check_landmark_quality`.

    Args:
        landmarks: Pixels, shape (B, N, 2), in any order.
        frame: Number of each face's frame, int64, shape (B,).
        identity: Which face it is, or which face of which video, int64, shape (B,); default: all are one face.

    Returns:
        Both of shape (B, N, 2); NaN where the face is not in that frame.
    """
    identity = torch.zeros_like(frame) if identity is None else identity
    _, number = identity.unique(return_inverse=True)
    first = frame.amin() if frame.numel() else 0
    time = frame - first + 1
    key = number * (time.amax() + 2 if frame.numel() else 1) + time
    order = key.argsort(stable=True)
    return _at(landmarks, key[order], order, key - 1), _at(landmarks, key[order], order, key + 1)


def _at(landmarks: Tensor, ordered: Tensor, order: Tensor, wanted: Tensor) -> Tensor:
    """Landmarks of the rows with the wanted keys (B,); NaN where there is none."""
    place = torch.searchsorted(ordered, wanted).clamp_max(max(0, len(ordered) - 1))
    there = ordered[place] == wanted
    return torch.where(there[:, None, None], landmarks[order[place]], torch.nan)


# Taken off the log-likelihood of a fit that is poor itself: more than fits differ by
POOR = 1e4


@torch.no_grad()
def repair_landmarks(
    detector: LandmarkDetector,
    frames: Tensor,
    landmarks: Tensor,
    frame: Tensor | None = None,
    *,
    boxes: Tensor | None = None,
    previous: Tensor | None = None,
    following: Tensor | None = None,
    confidence: Tensor | None = None,
    preset: str | FitConfig = "default",
    multi_view: bool | None = True,
    keep_good: bool = True,
    config: QualityConfig | None = None,
) -> RepairedLandmarks:
    """Fits the landmarks of poor faces again, and leaves those of the others exactly as they are.

    A poor face is fitted from the shape that most of its landmarks agree on, from the extent of that shape, and from
    the given box. Of the fits that are not poor themselves, the likeliest is kept, if it is better than what was given.
    Where most of a poor face was good, such as all but crossed eyes, the good landmarks stay as they are too.

    Args:
        detector: Fits; any family of experts.
        frames: Gray (F, H, W) or RGB (F, 3, H, W) images, uint8 or floating point in 0 to 255.
        landmarks: Another method's 68 points, pixels (x, y), shape (B, 68, 2); NaN where it knows none.
        frame: Frame of each face, int64, shape (B,). May be left out for one frame, or for one face per frame.
        boxes: Where the faces are, as for `LandmarkDetector.fit`, shape (B, 4); rows with a NaN are not known.
        previous: As for `check_landmark_quality`.
        following: As for `check_landmark_quality`.
        confidence: As for `check_landmark_quality`.
        preset: As for `LandmarkDetector.fit`.
        multi_view: As for `LandmarkDetector.fit`, of the fits from boxes.
        keep_good: Leave good landmarks of poor faces where they are; otherwise all 68 are fitted again.
        config: Bounds of the quality.

    Returns:
        One row per face.

    Raises:
        ValueError: The shapes or types of the arguments are wrong, or the detector has other landmarks.
    """
    given = check_points("landmarks", landmarks, (LANDMARKS, 2), like=detector.model.pdm.mean)
    gray = to_gray(frames.to(given.device))
    frame = frame_of_each(gray, frame, len(given)).to(given.device)
    before = check_landmark_quality(
        given,
        detector,
        frames=gray,
        frame=frame,
        boxes=boxes,
        previous=previous,
        following=following,
        confidence=confidence,
        config=config,
    )
    # A read to the host
    rows = before.poor.nonzero().squeeze(-1)
    shape = before.shape[rows]
    starts = [box_around(shape.landmarks)]
    if boxes is not None:
        starts.append(torch.where(boxes[rows].isfinite(), boxes[rows], torch.nan).to(given))
    fits = [detector.track(gray, shape.params, frame[rows], preset=preset, validate=False)]
    fits += [
        detector.fit(gray, box, frame[rows], preset=preset, multi_view=multi_view, validate=False) for box in starts
    ]
    best = _best_of(fits, detector, gray, frame[rows], config)
    better = best.usable & (best.quality.score > before.score[rows])
    taken, best = rows[better], best[better]
    stay = torch.zeros_like(before.doubtful[taken])
    if keep_good:
        sure = ~before.reasons["unsure"][taken, None]
        stay = sure & good_landmarks(given[taken], best.landmarks, before[taken])
        best, stay = _with_kept(best, given[taken], stay, detector, gray, frame[taken], config)
    refined = landmarks.clone()
    at = taken.to(landmarks.device)
    refined[at] = torch.where(stay[..., None].to(landmarks.device), landmarks[at], best.landmarks.to(landmarks))
    return RepairedLandmarks(
        landmarks=refined,
        refitted=torch.zeros_like(before.poor).index_fill(0, taken, True),
        kept=torch.ones_like(before.doubtful).index_copy(0, taken, stay),
        before=before,
        after=before.replaced(taken, best.quality),
    )


@dataclass(frozen=True)
class _Best:
    """The fits that were kept, one for each face."""

    landmarks: Tensor  # (B, N, 2)
    usable: Tensor  # (B,) bool: there is one
    quality: LandmarkQuality

    def __getitem__(self, rows: Tensor) -> "_Best":
        """Those of these rows."""
        return _Best(self.landmarks[rows], self.usable[rows], self.quality[rows])


def _best_of(
    fits: list[FitResult], detector: LandmarkDetector, gray: Tensor, frame: Tensor, config: QualityConfig | None
) -> _Best:
    """The likeliest of several fits of each face, of those that are not poor where there are any."""
    landmarks = torch.cat([fit.landmarks for fit in fits])
    quality = check_landmark_quality(landmarks, detector, frames=gray, frame=frame.repeat(len(fits)), config=config)
    likelihood = torch.cat([fit.likelihood for fit in fits])
    usable = torch.cat([fit.success for fit in fits]) & landmarks.isfinite().all(-1).all(-1) & likelihood.isfinite()
    rank = torch.where(usable, likelihood - POOR * quality.poor, -torch.inf)
    choice = rank.view(len(fits), -1).argmax(0)
    row = choice * len(frame) + torch.arange(len(frame), device=frame.device)
    return _Best(landmarks[row], usable[row], quality[row])


def _with_kept(
    best: _Best,
    given: Tensor,
    stay: Tensor,
    detector: LandmarkDetector,
    gray: Tensor,
    frame: Tensor,
    config: QualityConfig | None,
) -> tuple[_Best, Tensor]:
    """Fits in which some given landmarks stay, and which (B, N) do: none of a face that would be poor with them."""
    mixed = torch.where(stay[..., None], given, best.landmarks)
    quality = check_landmark_quality(mixed, detector, frames=gray, frame=frame, config=config)
    fine = ~quality.poor | best.quality.poor
    # A read to the host
    rows = fine.nonzero().squeeze(-1)
    landmarks = torch.where(fine[:, None, None], mixed, best.landmarks)
    return _Best(landmarks, best.usable, best.quality.replaced(rows, quality[rows])), stay & fine[:, None]
