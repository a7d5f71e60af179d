"""Where eyeballs lie behind the eyes' corners and how far their irises are from them, from rendered faces."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.records import Rows, join_rows
from clnf_torch.measures.gaze import EYE_PARTS, EYEBALL_OFFSET, EYEBALL_RADIUS, IRIS, gaze_directions
from clnf_torch.measures.head_in_space import measure_head
from clnf_torch.measures.landmarks_3d import FittedShape, landmarks_3d
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.data.boxes import perturb_boxes
from clnf_torch.training.synthetic.face_shards import RenderedFaces

# Faces that are fitted together
BATCH = 32
# An eye counts where so much of its iris can be seen
LEAST_IRIS = 0.4
# Fewer eyes do not tell four numbers
LEAST_EYES = 50
# Of Adam, millimetres; they end where further steps change no number by 0.01
STEPS, RATE = 400, 0.1


@dataclass(frozen=True, kw_only=True)
class SeenEyes(Rows):
    """What fits say of faces, and where their eyes look."""

    points: Tensor  # (B, 68, 3) mm
    eye_points: Tensor  # (B, 2, 28, 3)
    rotation: Tensor  # (B, 3) Euler angles of the heads
    gaze: Tensor  # (B, 2, 3) the truth
    seen: Tensor  # (B, 2) bool: eyes that count


def calibrate_eyeballs(model: LandmarkModel, shards: Iterable[RenderedFaces], seed: int) -> Tensor | None:
    """The eyeballs with which a model finds the gaze of rendered faces; see `Part` for the numbers.

    What a model does to poses and sizes of faces enters: other models need other eyeballs.

    Args:
        model: With both eyes among its parts.
        shards: From `read_shards`.
        seed: Of where the fits start.

    Returns:
        Of both eyes, which mirror each other, shape (2, 4); None where the fits show fewer than `LEAST_EYES` irises.
    """
    detector, generator = LandmarkDetector(model, "exact").eval(), torch.Generator().manual_seed(seed)
    found = []
    for faces in shards:
        found += [_fitted(detector, faces[rows], generator) for rows in torch.arange(len(faces)).split(BATCH)]
    eyes = join_rows(*found)
    eyes = eyes[eyes.seen.any(1)]
    return closest_eyeballs(eyes) if int(eyes.seen.sum()) >= LEAST_EYES else None


def closest_eyeballs(eyes: SeenEyes) -> Tensor:
    """The eyeballs (2, 4) whose gaze is nearest to the truth: the least mean chord between both directions.

    A mean of squares would follow the eyes that were not found.
    """
    own = torch.tensor([*EYEBALL_OFFSET, EYEBALL_RADIUS], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([own], lr=RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        found = gaze_directions(eyes.points, eyes.eye_points, eyes.rotation, "exact", mirrored(own))
        (found - eyes.gaze)[eyes.seen].norm(dim=-1).mean().backward()
        optimiser.step()
    return mirrored(own.detach())


def mirrored(eyeball: Tensor) -> Tensor:
    """The eyeballs (2, 4) of both eyes from that (4,) of the eye further left."""
    return torch.stack((eyeball, eyeball * eyeball.new_tensor([-1, 1, 1, 1])))


@torch.no_grad()
def _fitted(detector: LandmarkDetector, faces: RenderedFaces, generator: torch.Generator) -> SeenEyes:
    """What fits from perturbed boxes say of rendered faces."""
    gray = to_gray(faces.images)
    found = detector.fit(gray[:, None], perturb_boxes(faces.contour, generator), torch.arange(len(gray)))
    camera = Intrinsics(faces.camera[:, :1].expand(-1, 2), faces.camera[:, 1:])
    face = FittedShape(detector.model.pdm, found.params, found.landmarks, depth=detector.model.depth_shape)
    points, pose = measure_head(face, camera, "exact")
    parts = {part.name: part.model.pdm for part in detector.model.parts}
    fits = [(parts[name], found.parts[name]) for name in EYE_PARTS]
    eye_points = [landmarks_3d(FittedShape(pdm, fit.params, fit.landmarks), camera) for pdm, fit in fits]
    measured = [value.double() for value in (points, torch.stack(eye_points, 1), pose.rotation)]
    known = torch.stack([value.flatten(1).isfinite().all(1) for value in measured]).all(0) & found.success
    seen = faces.eyes_visible[:, :, :IRIS].float().mean(-1) >= LEAST_IRIS
    return SeenEyes(
        points=measured[0],
        eye_points=measured[1],
        rotation=measured[2],
        gaze=faces.gaze.double(),
        seen=seen & known[:, None],
    )
