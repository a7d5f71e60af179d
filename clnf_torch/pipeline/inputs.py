"""Checks the arguments of the public functions, and moves them to the model's device and number type."""

import torch
from torch import Tensor

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry.gray import to_gray


def check_points(name: str, values: Tensor, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Coordinates (B, *shape) in the number type and on the device of `like`.

    Raises:
        ValueError: They have another shape.
    """
    if values.ndim != 1 + len(shape) or values.shape[1:] != shape:
        expected = ", ".join(("B", *map(str, shape)))
        raise ValueError(f"{name} have shape {tuple(values.shape)}; expected ({expected})")
    return values.to(like)


def read_images(
    frames: Tensor, image_index: Tensor | None, faces: int, device: torch.device
) -> tuple[ImageBatch, Tensor]:
    """The gray frames on a device, and the faces (B,) whose frame exists.

    Args:
        frames: Gray (F, H, W) or RGB (F, 3, H, W).
        image_index: Which of the frames each face is in, shape (B,); may be left out for one frame, or for one face
            per frame.
        faces: Number of faces B.
        device: Where to.

    Raises:
        ValueError: Shapes or types are wrong.
    """
    gray = to_gray(frames.to(device))
    image_index = image_index_of_each(gray, image_index, faces).to(device)
    exists = (image_index >= 0) & (image_index < gray.shape[0])
    # Something to look at for faces without a frame
    gray = gray if len(gray) else gray.new_zeros(1, *gray.shape[1:])
    return ImageBatch(gray, torch.where(exists, image_index, 0)), exists


def image_index_of_each(frames: Tensor, image_index: Tensor | None, faces: int) -> Tensor:
    """Which of the frames each face is in, int64, shape (B,); arguments and errors as of `read_images`."""
    if image_index is None and frames.shape[0] not in (1, faces):
        raise ValueError(f"{faces} faces in {frames.shape[0]} frames: say with image_index (B,) which frame each is in")
    if image_index is None:
        image_index = torch.arange(faces) if frames.shape[0] == faces else torch.zeros(faces, dtype=torch.int64)
    if image_index.shape != (faces,) or image_index.is_floating_point():
        raise ValueError(
            f"image_index is {image_index.dtype} of shape {tuple(image_index.shape)}; "
            f"expected one whole number per face, ({faces},)"
        )
    return image_index.to(torch.int64)


def known_beforehand(
    shape: tuple[int, int],
    like: Tensor,
    regularisation: Tensor | float | None,
    landmark_weight: Tensor | None,
    visible: Tensor | None,
) -> dict[str, Tensor | None]:
    """What is known about each face beforehand, as `FitState` holds it, one row per face.

    Args:
        shape: Number of faces and of landmarks (B, N).
        like: Gives number type and device.
        regularisation: A number, or one per face (B,).
        landmark_weight: Shape (N,) or (B, N).
        visible: Shape (N,) or (B, N).

    Raises:
        ValueError: Something belongs to another number of faces or landmarks.
    """
    if regularisation is not None:
        regularisation = torch.as_tensor(regularisation, dtype=like.dtype, device=like.device)
        regularisation = _expanded("regularisation", regularisation, shape[:1])
    if landmark_weight is not None:
        landmark_weight = _expanded("landmark_weight", landmark_weight.to(like), shape)
    if visible is not None:
        visible = _expanded("visible", visible.to(device=like.device, dtype=torch.bool), shape)
    hidden = None if visible is None else ~visible
    return {"landmark_weight": landmark_weight, "hidden": hidden, "regularisation": regularisation}


def _expanded(name: str, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values for every face; refuses those that do not belong to so many."""
    try:
        return values.expand(shape)
    except RuntimeError:
        raise ValueError(
            f"{name} has shape {tuple(values.shape)}; expected {shape} or one that broadcasts to it"
        ) from None
