"""Training samples of CEN experts: views of faces, patches around their landmarks, and Gaussian targets."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.records import Rows
from clnf_torch.geometry.sampling import affine_cells, pad_with_black, read_bilinear
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.patch_experts.patches import cut_patches
from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.training.augmentation.photometric import ImageAugmentation
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops, image_pyramid, to_pyramid_level

# Degrees: OpenFace's views, in its order
YAWS = (0.0, -20.0, -45.0, -70.0, 70.0, 45.0, 20.0)
# Degrees; from here on the far half of a face is hidden
PROFILE = 60.0


@dataclass(frozen=True)
class CenViews:
    """Views of turned heads, symmetric to the frontal one. Those that face the other way are trained mirrored."""

    yaws: tuple[float, ...] = YAWS  # degrees

    @property
    def centers(self) -> Tensor:
        """Head rotation in the middle of each view, Euler angles in radians, float64, shape (V, 3)."""
        yaw = torch.tensor(self.yaws, dtype=torch.float64).deg2rad()
        return torch.stack((torch.zeros_like(yaw), yaw, torch.zeros_like(yaw)), dim=-1)

    @property
    def mirror(self) -> tuple[int, ...]:
        """The view of each view's mirror images."""
        return tuple(self.yaws.index(-yaw) for yaw in self.yaws)

    @property
    def trained(self) -> tuple[int, ...]:
        """The views that have experts of their own."""
        return tuple(view for view, yaw in enumerate(self.yaws) if yaw <= 0)

    def visible(self, left: Tensor, mirror: Tensor) -> Tensor:
        """Landmarks that can be seen in each view.

        Args:
            left: Landmarks of the image's left half of a frontal face, the middle included, bool, shape (N,).
            mirror: Each landmark's partner on the other side of the face, int64, shape (N,).

        Returns:
            bool, shape (V, N). A head that is turned to a negative yaw shows the image's left half.
        """
        rows = [torch.ones_like(left) if abs(yaw) < PROFILE else left if yaw < 0 else left[mirror] for yaw in self.yaws]
        return torch.stack(rows)


@dataclass(frozen=True)
class ViewRows(Rows):
    """The faces of one view, some of them mirrored."""

    face: Tensor  # (K,) int64
    flip: Tensor  # (K,) bool


def faces_of_views(views: CenViews, rotation: Tensor) -> dict[int, ViewRows]:
    """The faces and the mirror images of faces that are nearest to each trained view.

    Args:
        views: The views.
        rotation: Fitted Euler angles of the faces, radians, shape (F, 3).
    """
    both = torch.cat((rotation, rotation * rotation.new_tensor([1.0, -1.0, -1.0])))
    distance = (both[:, None] - views.centers.to(both)).square().sum(-1)
    nearest, faces = distance.argmin(-1), len(rotation)
    rows = {view: (nearest == view).nonzero().squeeze(-1) for view in views.trained}
    return {view: ViewRows(row % faces, row >= faces) for view, row in rows.items()}


def views_with_faces(rotation: Tensor, least: int, yaws: tuple[float, ...] = YAWS) -> CenViews:
    """The views that can be trained on faces (F, 3): those with at least so many, mirror images included.

    The others are left out, the outermost first; their faces then belong to the nearest view that stays. The frontal
    view always stays.
    """
    views = CenViews(yaws)
    while True:
        counts = {view: len(rows.face) for view, rows in faces_of_views(views, rotation).items()}
        poor = [abs(views.yaws[view]) for view, count in counts.items() if count < least and views.yaws[view]]
        if not poor:
            return views
        views = CenViews(tuple(yaw for yaw in views.yaws if abs(yaw) != max(poor)))


# Side of a patch, reference pixels
SUPPORT = 11
# Side of an area, from which all patches are cut
AREA = 19
# Of a face in an epoch: one near its landmark, the others farther away
AREAS = 11
# How far: standard deviations, reference pixels
NEAR, FAR = 1.0, 10.0


@dataclass(frozen=True)
class AlignedFaces:
    """Faces aligned with the upright reference frame by a similarity (Procrustes analysis)."""

    levels: tuple[Tensor, ...]  # image pyramid of the crops (F, S, S), uint8
    landmarks: Tensor  # (F, N, 2) in pixels of the crops
    to_crop: Tensor  # (F, 2, 2) from reference pixels to pixels of the crops
    mirror: Tensor  # (N,) each landmark's partner on the other side of the face

    @classmethod
    def of(
        cls, crops: FaceCrops, pdm: PDM, params: ShapeParams, scale: float, mirror: Tensor, levels: int
    ) -> "AlignedFaces":
        """Faces with their fitted parameters, in a frame of `scale` pixels per millimetre, and their image pyramids."""
        upright = similarity_between(pdm.landmarks(params), pdm.reference_landmarks(params.local, scale))
        return cls(
            image_pyramid(crops.gray, levels), crops.landmarks, invert_similarity(upright).to(crops.landmarks), mirror
        )

    def cut(
        self,
        rows: ViewRows,
        offsets: Tensor,
        at: Tensor,
        level: int,
        augmentation: ImageAugmentation,
        sampler: Sampler,
        width: int = AREA,
    ) -> Tensor:
        """Areas of faces near their landmarks, as the fit would show them to experts.

        Args:
            rows: Which faces, B of them, and which of them mirrored.
            offsets: From each landmark to the area's middle, reference pixels (x, y), shape (B, E, 2).
            at: The landmarks, int64, shape (E,).
            level: Of the image pyramid.
            augmentation: Of the images.
            sampler: Gives its random numbers.
            width: Side A of the areas.

        Returns:
            Gray levels, shape (B, E, A, A).
        """
        shrunk = 2**level
        landmarks = to_pyramid_level(self.landmarks[rows.face], level)
        gray = augmentation(self.levels[level][rows.face].float(), landmarks, sampler)
        linear = self.to_crop[rows.face] / shrunk
        linear = torch.where(rows.flip[:, None, None], linear * linear.new_tensor([-1.0, 1.0]), linear)
        landmarks = torch.where(rows.flip[:, None, None], landmarks[:, self.mirror], landmarks)[:, at]
        corner = landmarks + torch.einsum("bij,bej->bei", linear, offsets - (width - 1) / 2)
        matrix = torch.cat((linear[:, None].expand(-1, len(at), -1, -1), corner[..., None]), dim=-1)
        image_index = torch.arange(len(gray), device=gray.device)
        return read_bilinear(pad_with_black(gray), image_index, affine_cells(matrix, width), torch.float32)


@dataclass(frozen=True)
class Patches:
    """Inputs and targets of E experts."""

    pixels: Tensor  # (E, P, S * S) minus their mean, divided by their length
    target: Tensor  # (E, P)


def patch_batches(
    faces: AlignedFaces,
    rows: ViewRows,
    at: Tensor,
    areas: int,
    sigma: float,
    augmentation: ImageAugmentation,
    sampler: Sampler,
) -> Iterator[Patches]:
    """Every face eleven times: once near each landmark, and ten times farther away; in random order.

    Args:
        faces: The faces.
        rows: Which of them, K, and which mirrored.
        at: The landmark of each expert, int64, shape (E,).
        areas: Per batch and expert; 81 patches are cut from each.
        sigma: Width of the target Gaussian around the landmark, reference pixels.
        augmentation: Of the images.
        sampler: Gives the random numbers.
    """
    device = faces.landmarks.device
    order = torch.randperm(len(rows.face) * AREAS, generator=sampler.generator).to(device)
    for batch in order.split(areas):
        these = batch // AREAS
        away = torch.where(batch % AREAS == 0, NEAR, FAR)[:, None, None]
        offsets = (sampler.normal(1, len(batch), len(at), 2) * away).round()
        level = int(sampler.integers(len(faces.levels), 1))
        cut = faces.cut(rows[these], offsets, at, level, augmentation, sampler)
        pixels = cut_patches(cut, SUPPORT, checkerboard=False)  # (B, E, 81, S * S)
        target = gaussian_maps(offsets, AREA - SUPPORT + 1, sigma).flatten(2)
        yield Patches(pixels.transpose(0, 1).flatten(1, 2), target.transpose(0, 1).flatten(1))


def gaussian_maps(offsets: Tensor, window: int, sigma: float) -> Tensor:
    """Target responses (..., R, R): Gaussians, 1 at the landmark, which lies at minus the area's offset (..., 2)."""
    cells = torch.arange(window, dtype=offsets.dtype, device=offsets.device) - (window - 1) / 2
    fading = (-0.5 * ((offsets[..., None] + cells) / sigma).square()).exp()  # (..., 2, R)
    return fading[..., 1, :, None] * fading[..., 0, None, :]
