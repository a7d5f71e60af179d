"""Pinhole cameras: what they see of points in front of them, and where what they see may lie."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clnf_torch.geometry.frames import as_tensor
from clnf_torch.geometry.records import loadable


@loadable
@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera without lens distortion, one for all faces or one per face.

    Camera space has its origin at the pinhole, x to the right, y down and z away from the camera, in millimetres.

    Attributes:
        focal: Focal lengths along x and y, pixels, shape (2,) or (B, 2). Arrays and lists become tensors.
        center: Principal point (x, y), pixels, shape (2,) or (B, 2), likewise.
    """

    focal: Tensor
    center: Tensor

    def __post_init__(self) -> None:
        """Make tensors of arrays and lists."""
        for name in ("focal", "center"):
            given = getattr(self, name)
            if not isinstance(given, Tensor):
                object.__setattr__(self, name, as_tensor(name, given))

    @classmethod
    def of(cls, fx: float, fy: float, cx: float, cy: float) -> "Intrinsics":
        """The camera with these focal lengths and this principal point, pixels.

        Raises:
            ValueError: A focal length is not a positive number.
        """
        if not (0 < fx < float("inf") and 0 < fy < float("inf")):
            raise ValueError(f"focal lengths are {fx} and {fy} px; expected two positive numbers")
        pairs = torch.tensor(((fx, fy), (cx, cy)), dtype=torch.float64, device="cpu")
        return cls(pairs[0], pairs[1])

    @classmethod
    def for_image(cls, width: int, height: int) -> "Intrinsics":
        """The camera that OpenFace assumes behind an image of unknown origin.

        Its principal point is the middle, its focal length that of a common webcam: 500 pixels at 640 x 480, and the
        mean of what width and height say of others.

        Args:
            width: Pixels.
            height: Pixels.

        Source:
            The capture code of OpenFace's executables.
        """
        focal = (500 * width / 640 + 500 * height / 480) / 2
        return cls.of(focal, focal, width / 2, height / 2)

    @classmethod
    def known(
        cls,
        width: int,
        height: int,
        fx: float | None = None,
        fy: float | None = None,
        cx: float | None = None,
        cy: float | None = None,
    ) -> "Intrinsics":
        """The camera of images of a size of which something is known; the rest is what `for_image` assumes.

        Args:
            width: Pixels.
            height: Pixels.
            fx: Focal length along x, pixels.
            fy: Along y; without it as along x, if that is given.
            cx: Principal point, pixels.
            cy: Principal point, pixels.
        """
        guess = cls.for_image(width, height)
        (guess_fx, guess_fy), (guess_cx, guess_cy) = guess.focal.tolist(), guess.center.tolist()
        along_x = guess_fx if fx is None else fx
        along_y = (guess_fy if fx is None else along_x) if fy is None else fy
        return cls.of(along_x, along_y, guess_cx if cx is None else cx, guess_cy if cy is None else cy)

    def to(self, other: Tensor) -> "Intrinsics":
        """The same camera in the number type of another tensor, and on its device."""
        return Intrinsics(self.focal.to(other), self.center.to(other))


def check_camera(camera: Any) -> Intrinsics:
    """The camera that is given.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(camera, Intrinsics):
        raise ValueError(
            f"camera is of type {type(camera).__name__}; expected Intrinsics, such as "
            "Intrinsics.for_image(width, height)"
        )
    return camera


def project(points: Tensor, camera: Intrinsics) -> Tensor:
    """Where a camera sees points.

    Args:
        points: Camera space, millimetres, shape (B, N, 3).
        camera: The camera, or one per row.

    Returns:
        Pixels (x, y), shape (B, N, 2). OpenFace: a point at depth 0 is returned as its (X, Y).

    Source:
        OpenFace ``Project``.
    """
    across, depth = points[..., :2], points[..., 2:]
    flat = depth == 0
    seen = camera.focal[..., None, :] * across / torch.where(flat, 1, depth) + camera.center[..., None, :]
    return torch.where(flat, across, seen)


def projection_jacobian(points: Tensor, camera: Intrinsics) -> Tensor:
    """How what a camera sees moves with the points.

    Args:
        points: Camera space, millimetres, shape (B, N, 3), none at depth 0.
        camera: The camera, or one per row.

    Returns:
        Derivatives of `project`, pixels per millimetre, shape (B, 2, N, 3): image coordinate, point, its coordinate.
    """
    depth = points[..., 2:]
    eye = torch.eye(2, dtype=points.dtype, device=points.device)[:, None].expand(
        *points.shape[:-2], 2, points.shape[-2], 2
    )
    away = -(points[..., :2] / depth).mT[..., None]
    return torch.cat((eye, away), dim=-1) * (camera.focal[..., None, :] / depth).mT[..., None]


def back_project(pixels: Tensor, depth: Tensor, camera: Intrinsics) -> Tensor:
    """The points at given depths that a camera sees at given pixels.

    Args:
        pixels: Image positions (x, y), shape (B, N, 2).
        depth: Distance along the camera's axis, millimetres, shape (B, N).
        camera: The camera, or one per row.

    Returns:
        Points in camera space, millimetres, shape (B, N, 3).
    """
    rays = (pixels - camera.center[..., None, :]) / camera.focal[..., None, :]
    return torch.cat((rays * depth[..., None], depth[..., None]), dim=-1)


def weak_perspective_origin(scale: Tensor, translation: Tensor, camera: Intrinsics) -> Tensor:
    """Where the origin of a shape seen under weak perspective lies in camera space.

    Args:
        scale: Pixels per millimetre, shape (B,).
        translation: Image position of the shape's origin, pixels, shape (B, 2).
        camera: The camera, or one per row.

    Returns:
        Points, millimetres, shape (B, 3). OpenFace: their depth follows from the focal length along x alone.

    Source:
        OpenFace ``GetShape``, ``GetPose``.
    """
    depth = camera.focal[..., 0] / scale
    return back_project(translation[:, None], depth[:, None], camera)[:, 0]
