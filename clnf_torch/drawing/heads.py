"""Heads as an image shows them: their axes, their far sides, and directions in front of the camera."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.rotation import euler_to_matrix

# Millimetres from the head's centre to the tips of its axes: to the image's right, up, forward
AXES = ((45.0, 0.0, 0.0), (0.0, -45.0, 0.0), (0.0, 0.0, -70.0))
# Degrees to the image's right by which the skin at each of the 68 landmarks is turned away from straight ahead, on the
# ellipsoid that suits the mean shape: half axes of 75 mm across and 120 mm ahead, 90 mm behind the face
OUTWARD = (
    -81, -81, -79, -75, -69, -60, -47, -25, 0, 25, 47, 60, 69, 75, 79, 81, 81, -64, -56, -45, -31, -16, 16, 31, 45,
    56, 64, 0, 0, 0, 0, -19, -9, 0, 9, 19, -54, -48, -39, -31, -40, -48, 31, 39, 48, 54, 48, 40, -32, -19, -8, 0, 8,
    19, 32, 20, 10, 0, -10, -20, -28, -10, 0, 10, 28, 8, 0, -8,
)  # fmt: skip
# Sine of the angle beyond the edge of sight from which a landmark counts as hidden: 10 degrees, by which heads differ
HIDDEN = 0.17


@dataclass(frozen=True)
class SeenHeads:
    """How B heads are seen in an image.

    Attributes:
        scale: Pixels per millimetre, shape (B,).
        center: Of the head, pixels, shape (B, 2).
        rotation: Of the head in camera space, shape (B, 3, 3).
        sight: From the camera to the head, camera space, shape (B, 3).
    """

    scale: Tensor
    center: Tensor
    rotation: Tensor
    sight: Tensor

    @classmethod
    def of(cls, pose: Tensor, head: Tensor | None = None) -> "SeenHeads":
        """Heads by their weak perspective (B, 6), turned as they were measured (B, 6); see `DrawnFaces.of_numbers`."""
        flat = torch.cat((torch.zeros_like(pose[:, :2]), torch.ones_like(pose[:, :1]), pose[:, 1:4]), dim=1)
        if head is not None:
            measured = head.isfinite().all(1) & (head[:, 2] > 0)
            flat = torch.where(measured[:, None], head, flat)
        return cls(pose[:, 0], pose[:, 4:6], euler_to_matrix(flat[:, 3:]), flat[:, :3])

    def flat(self, vectors: Tensor) -> Tensor:
        """Vectors in camera space (B, K, 3) as they are seen at the heads (B, K, 2); one into the camera is a point."""
        return vectors[..., :2] - vectors[..., 2:] * (self.sight[:, :2] / self.sight[:, 2:])[:, None]

    def axes(self) -> Tensor:
        """The heads' centres and the tips of their axes to the image's right, up and forward, pixels (B, 4, 2)."""
        tips = self.flat(self.rotation.new_tensor(AXES) @ self.rotation.mT)
        center = self.center[:, None]
        return torch.cat([center, center + self.scale[:, None, None] * tips], dim=1)

    def hidden_landmarks(self) -> Tensor:
        """Which of the 68 landmarks lie on the far side of the heads, bool, shape (B, 68)."""
        angle = torch.deg2rad(self.rotation.new_tensor(OUTWARD))
        normal = torch.stack([angle.sin(), torch.zeros_like(angle), -angle.cos()], dim=-1)
        sight = self.sight / torch.linalg.vector_norm(self.sight, dim=-1, keepdim=True)
        return (normal @ (self.rotation.mT @ sight[..., None]))[..., 0] > HIDDEN
