"""Faces whose gaze is known: rendered ones exactly, and portraits of people who look into the camera, or nearly so."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.landmarks28 import IRIS, LIDS
from clnf_torch.geometry.records import Rows, join_rows
from clnf_torch.measures.gaze import EYE_PARTS, along_sight
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.data.crops import NoFacesError
from clnf_torch.training.free.self_training import Portraits
from clnf_torch.training.synthetic.face_shards import RenderedFaces

# An eye is learned from where so much of its lids, and of its iris, can be seen
LEAST_LIDS, LEAST_IRIS = 0.5, 0.25
# Chord of the directions of portraits that counts as none: five degrees
TOLERANCE = 0.087
# Portraits that are fitted together
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class GazeFaces(Rows):
    """Faces whose gaze is known; one per row."""

    gray: Tensor  # (B, S, S) uint8
    landmarks: Tensor  # (B, 68, 2) px
    eyes: Tensor  # (B, 2, 28, 2) px
    gaze: Tensor  # (B, 2, 3) as `GazeNetwork` tells it
    tolerance: Tensor  # (B,) length of the chord by which directions may be off
    rotation: Tensor  # (B, 3, 3) of the head; NaN of photographs
    seen: Tensor  # (B, 2) bool: eyes that are learned from
    upright: Tensor  # (B, 68, 2) mm, without the head's pose; NaN of photographs


def gaze_faces(shards: Iterable[RenderedFaces]) -> GazeFaces:
    """Rendered faces of which an eye can be seen.

    Args:
        shards: From `read_shards`.

    Raises:
        NoFacesError: No eye can be seen.
    """
    found = [_looking(faces) for faces in shards]
    if not any(len(faces) for faces in found):
        raise NoFacesError("the rendered faces show no eye whose lids and iris are visible; render more faces")
    return join_rows(*found)


def _looking(faces: RenderedFaces) -> GazeFaces:
    """Those of a shard."""
    visible = faces.eyes_visible.float()
    seen = (visible[:, :, LIDS].mean(-1) >= LEAST_LIDS) & (visible[:, :, :IRIS].mean(-1) >= LEAST_IRIS)
    placed = (faces.points - faces.translation[:, None]) @ faces.rotation
    looking = GazeFaces(
        gray=to_gray(faces.images),
        landmarks=faces.contour,
        eyes=faces.eyes,
        gaze=along_sight(faces.gaze, faces.eye_points[:, :, LIDS].mean(2)),
        tolerance=torch.zeros(len(faces), device=faces.images.device),
        rotation=faces.rotation,
        seen=seen,
        upright=placed[..., :2],
    )
    return looking[seen.any(1)]


@torch.no_grad()
def gaze_portraits(model: LandmarkModel, portraits: Portraits) -> GazeFaces:
    """Photographs of people who look into the camera, or nearly so, with the landmarks that a model finds.

    Lids of rendered faces tell more of the gaze than those of people do, some of whom open their eyes further than
    others. That these look into the camera only counts where a network thinks otherwise by `TOLERANCE`: one that knew
    photographs from rendered faces could do without the eyes.

    Args:
        model: With both eyes among its parts.
        portraits: From `cut_portraits`, on the model's device.

    Raises:
        NoFacesError: There are none.
    """
    if not len(portraits):
        raise NoFacesError("the portraits show no face; give photographs of people who look into the camera")
    detector = LandmarkDetector(model, "exact").eval()
    fits = [
        detector.fit(some.gray, some.boxes, torch.arange(len(some.gray), device=some.gray.device))
        for some in (portraits[rows] for rows in torch.arange(len(portraits)).split(BATCH))
    ]
    found = join_rows(*fits)
    eyes = torch.stack([found.parts[name].landmarks for name in EYE_PARTS], 1)
    count, unknown = len(eyes), found.landmarks.new_tensor(torch.nan)
    looking = GazeFaces(
        gray=portraits.gray,
        landmarks=found.landmarks.float(),
        eyes=eyes.float(),
        gaze=unknown.new_tensor((0.0, 0.0, -1.0)).expand(count, 2, 3),
        tolerance=unknown.new_full((count,), TOLERANCE),
        rotation=unknown.expand(count, 3, 3),
        seen=torch.ones(count, 2, dtype=torch.bool, device=unknown.device),
        upright=unknown.expand(count, *found.landmarks.shape[1:]),
    )
    return looking[found.success]
