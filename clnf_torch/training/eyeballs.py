"""Where eyeballs lie behind the eyes' corners and how far their irises are from them, from rendered faces."""

from collections.abc import Iterable

import torch
from torch import Tensor

from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.measures.gaze import EYE_PARTS, IRIS, corner_middles
from clnf_torch.measures.head_in_space import measure_head
from clnf_torch.measures.landmarks_3d import FittedShape, landmarks_3d
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.data.boxes import perturb_boxes
from clnf_torch.training.synthetic.face_shards import RenderedFaces

# Faces that are fitted together
BATCH = 32
# An eye counts where so much of its iris can be seen
LEAST_IRIS = 0.6
# Fewer eyes do not tell four numbers
LEAST_EYES = 50
# Rounds of reweighting; the scale of the Cauchy weights, millimetres, which is what good fits are off by
ROUNDS, ROBUST = 10, 1.0


@torch.no_grad()
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
    detector, rows = LandmarkDetector(model, "exact").eval(), []
    generator = torch.Generator().manual_seed(seed)
    for faces in shards:
        for some in torch.arange(len(faces)).split(BATCH):
            rows.append(_equations(detector, faces[some], generator))
    factors, sides = (torch.cat(columns) for columns in zip(*rows, strict=True))
    if len(factors) < LEAST_EYES:
        return None
    offset = _robust_solution(factors, sides)
    return torch.stack((offset, offset * offset.new_tensor([-1, 1, 1, 1])))


def _equations(detector: LandmarkDetector, faces: RenderedFaces, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Linear equations for an eyeball (4,): the centre plus the gaze lies on the ray through the iris.

    Returns:
        Factors, shape (E, 3, 4), and right sides, shape (E, 3), millimetres, of E eyes that are seen.
    """
    gray = to_gray(faces.images)
    found = detector.fit(gray[:, None], perturb_boxes(faces.contour, generator), torch.arange(len(gray)))
    camera = Intrinsics(faces.camera[:, :1].expand(-1, 2), faces.camera[:, 1:])
    face = FittedShape(detector.model.pdm, found.params, found.landmarks, depth=detector.model.depth_shape)
    parts = {part.name: part.model.pdm for part in detector.model.parts}
    fits = [found.parts[name] for name in EYE_PARTS]
    eyes = [FittedShape(parts[n], fit.params, fit.landmarks) for n, fit in zip(EYE_PARTS, fits, strict=True)]
    points, pose = measure_head(face, camera, "exact")
    eye_points = torch.stack([landmarks_3d(eye, camera) for eye in eyes], 1)
    middle = corner_middles(points.double(), eye_points.double())
    turned = euler_to_matrix(pose.rotation.double())[:, None].expand(-1, 2, -1, -1)
    # Both eyes by one offset: mirrored in the head
    turned = turned * torch.tensor([[[1.0, 1, 1]], [[-1, 1, 1]]]).double()
    columns = torch.cat((turned, faces.gaze.double()[..., None]), -1)
    ray = torch.nn.functional.normalize(eye_points[:, :, :IRIS].double().mean(-2), dim=-1)
    away = torch.eye(3).double() - ray[..., :, None] * ray[..., None, :]
    factors, sides = away @ columns, -(away @ middle[..., None])[..., 0]
    seen = faces.eyes_visible[:, :, :IRIS].float().mean(-1) >= LEAST_IRIS
    good = seen & found.success[:, None] & factors.isfinite().all(-1).all(-1) & sides.isfinite().all(-1)
    return factors[good], sides[good]


def _robust_solution(factors: Tensor, sides: Tensor) -> Tensor:
    """The numbers (4,) that solve equations (E, 3, 4), (E, 3) best, where some eyes are far off."""
    weight = factors.new_ones(len(factors))
    for _ in range(ROUNDS):
        normal = torch.einsum("e,eij,eik->jk", weight, factors, factors)
        solution = torch.linalg.solve(normal, torch.einsum("e,eij,ei->j", weight, factors, sides))
        off = (factors @ solution - sides).norm(dim=-1)
        weight = 1 / (1 + (off / ROBUST).square())
    return solution
