"""Faces aligned to the mean shape by a similarity: images of one size in which every face is upright and as large."""

import math
from typing import Any

import torch
from torch import Tensor

from clnf_torch.geometry.constants import constant, select_landmarks
from clnf_torch.geometry.frames import Frames, as_frames
from clnf_torch.geometry.landmarks68 import BROWS, NUM_LANDMARKS, STEADY
from clnf_torch.geometry.sampling import affine_cells, pad_with_black, read_bilinear
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.pdm import PDM
from clnf_torch.pipeline.inputs import check_points, image_index_of_each

# OpenFace's defaults, as its wiki gives them: side in pixels, and pixels per millimetre of the mean shape
SIZE, SCALE = 112, 0.7
# Millimetres above the brows that a mask leaves: most of a forehead, without the hair
FOREHEAD = 20.0
# In which a convex hull is bounded: its outline is 0.1 pixel too wide at most
DIRECTIONS = 128


def align_faces(
    frames: Frames,
    landmarks: Any,
    pdm: PDM,
    image_index: Any = None,
    *,
    size: int = SIZE,
    scale: float = SCALE,
    masked: bool = False,
) -> Tensor:
    """Faces in images of one size, brought to the mean shape by a similarity: moved, turned and scaled.

    The nose and the corners of the eyes decide where a face of 68 landmarks lies; of other schemes all landmarks do.
    Positions between pixels are read bilinearly, those outside the frame are black.

    Args:
        frames: Gray or RGB images, as `LandmarkDetector.fit` takes them, shape (F, C, H, W).
        landmarks: Pixels (x, y), shape (B, N, 2), as of `FitResult.landmarks`.
        pdm: The shape model, ``detector.model.pdm``, in whose number type and on whose device this is done.
        image_index: Which of the frames each face is in, shape (B,); None: the only one, or each in its own.
        size: Side A of the images, pixels.
        scale: Pixels per millimetre of the mean shape, whose origin is in the middle of the images.
        masked: Make black what is outside of the convex hull of the landmarks and of the forehead above the brows.

    Returns:
        Shape (B, C, A, A), from 0 to 255, differentiable in landmarks and floating point frames; black where landmarks
        are not finite or all in one place, and where the frame does not exist.

    Raises:
        ValueError: Shapes or types are wrong, or size and scale are not above 0.
    """
    # numpy's whole numbers are none of Python's
    if isinstance(size, bool) or not hasattr(size, "__index__"):
        raise ValueError(f"size is {size!r:.60}; expected a whole number of pixels")
    if size < 1 or not 0 < scale < math.inf:
        raise ValueError(f"size is {size}, scale {scale}; expected pixels, and pixels per millimetre, above 0")
    mean = pdm.mean[:, :2]
    frames = as_frames(frames).to(mean.device)
    landmarks = check_points("landmarks", landmarks, (len(mean), 2), mean)
    image_index = image_index_of_each(frames, image_index, len(landmarks)).to(mean.device)
    target = scale * mean + (size - 1) / 2
    valid = _are_faces(landmarks) & (image_index >= 0) & (image_index < len(frames))
    landmarks = torch.where(valid[:, None, None], landmarks, target)
    to_window, shift = _similarity(landmarks, target)
    to_image = invert_similarity(to_window)
    window = torch.cat((to_image, -to_image @ shift[..., None]), dim=-1)
    aligned = _read(frames, torch.where(valid, image_index, 0), window, size)
    if masked:
        valid = valid[:, None, None] & _hull(landmarks @ to_window.mT + shift[:, None], size, scale)
    return torch.where(valid.view(len(valid), 1, *valid.shape[1:] or (1, 1)), aligned, 0)


def _are_faces(landmarks: Tensor) -> Tensor:
    """Rows whose landmarks are finite and not all in one place, bool, shape (B,)."""
    steady = _steady(landmarks.detach())
    return landmarks.isfinite().all(-1).all(-1) & (steady != steady[:, :1]).any(-1).any(-1)


def _steady(points: Tensor) -> Tensor:
    """The landmarks that decide where a face lies, shape (..., K, 2)."""
    return select_landmarks(points, STEADY) if points.shape[-2] == NUM_LANDMARKS else points


def _similarity(landmarks: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The scaled rotations (B, 2, 2) and shifts (B, 2) that take landmarks (B, N, 2) to their places (N, 2)."""
    source, target = _steady(landmarks), _steady(target)
    matrix = similarity_between(source, target.expand_as(source))
    return matrix, target.mean(-2) - (matrix @ source.mean(-2)[..., None])[..., 0]


def _read(frames: Tensor, image_index: Tensor, window: Tensor, size: int) -> Tensor:
    """What windows (B, 2, 3) show of frames (F, C, H, W): shape (B, C, size, size)."""
    channels = frames.shape[1]
    if not frames.numel():
        return window.new_zeros(len(window), channels, size, size)
    planes = image_index[:, None] * channels + torch.arange(channels, device=image_index.device)
    cells = affine_cells(window.repeat_interleave(channels, dim=0), size)
    padded = pad_with_black(frames.flatten(0, 1))
    return read_bilinear(padded, planes.flatten(), cells, window.dtype).unflatten(0, (-1, channels))


def _hull(points: Tensor, size: int, scale: float) -> Tensor:
    """Pixels of a window in the convex hull of points (B, N, 2), with a forehead: bool, shape (B, size, size)."""
    points = points.detach()
    if points.shape[1] == NUM_LANDMARKS:
        forehead = points[:, BROWS] - constant((0.0, FOREHEAD * scale), points)
        points = torch.cat((points, forehead), dim=1)
    angle = torch.arange(DIRECTIONS, dtype=points.dtype, device=points.device) * (2 * math.pi / DIRECTIONS)
    outward = torch.stack((angle.cos(), angle.sin()))
    reach = (points @ outward).amax(1)  # (B, DIRECTIONS)
    side = torch.arange(size, dtype=points.dtype, device=points.device)
    pixels = torch.cartesian_prod(side, side).flip(-1) @ outward  # rows first
    return (pixels <= reach[:, None]).all(-1).unflatten(1, (size, size))
