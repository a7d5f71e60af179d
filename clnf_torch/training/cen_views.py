"""The views of CEN experts: which there are, which of them are trained, and which faces belong to each."""

from dataclasses import dataclass

import torch
from torch import Tensor

YAWS = (0.0, -20.0, -45.0, -70.0, 70.0, 45.0, 20.0)  # degrees: OpenFace's views, in its order
PROFILE = 60.0  # degrees; from here on the far half of a face is hidden


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
            left: Landmarks of the picture's left half of a frontal face, the middle included, bool, shape (N,).
            mirror: Each landmark's partner on the other side of the face, int64, shape (N,).

        Returns:
            bool, shape (V, N). A head that is turned to a negative yaw shows the picture's left half.
        """
        rows = [torch.ones_like(left) if abs(yaw) < PROFILE else left if yaw < 0 else left[mirror] for yaw in self.yaws]
        return torch.stack(rows)


@dataclass(frozen=True)
class ViewRows:
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
