"""Checks the arguments of the public functions, and moves them to the model's device and number type."""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry.frames import Frames, as_frames, as_tensor, warn_of_unit_range
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.host import is_readable
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.pdm import PDM, ShapeParams

# Of a face, that a fit follows: the pose has six numbers
LEAST_LANDMARKS = 3
# Share of its width or height by which a box leaves an image so far that it may be no box of a face
OUTSIDE = 0.25
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_parts(model: LandmarkModel, validator: nn.Module | None) -> None:
    """Refuses a detector one part of which was cast or moved alone, before an operation deep inside a fit does.

    Raises:
        ValueError: A part that fits use has another number type than the shape model, or is on another device.
    """
    expected, device = model.pdm.mean.dtype, model.pdm.mean.device
    for name, part in (*_parts_in_use(model, "model"), ("validator", validator)):
        # The weights of experts may be of the type that they are stored in, and are widened where they are used
        number = part.confidence if isinstance(part, Experts) else None if part is None else _first_number(part)
        if number is not None and number.device != device:
            raise ValueError(
                f"detector.{name} is on {number.device}, detector.model.pdm on {device}; expected all parts on one "
                f'device: move the whole detector, detector.to("{device}"), or load it anew'
            )
        if number is not None and number.dtype != expected:
            raise ValueError(
                f"detector.{name} is {number.dtype}, detector.model.pdm {expected}; expected one number type in all "
                "parts: cast the whole detector, detector.float() or detector.double(), or load it anew"
            )


def _parts_in_use(model: LandmarkModel, where: str) -> Iterator[tuple[str, nn.Module | None]]:
    """What a model's fits, and measures of them, use, by the places where it is."""
    yield f"{where}.pdm", model.pdm
    for index, experts in enumerate(model.experts):
        yield f"{where}.experts[{index}]", experts
        if isinstance(experts, HeatmapExperts):
            yield f"{where}.experts[{index}].network", experts.network
    for name in ("refinement", "gaze_network", "error_model", "depth_shape"):
        yield f"{where}.{name}", getattr(model, name)
    for index, part in enumerate(model.parts):
        yield from _parts_in_use(part.model, f"{where}.parts[{index}].model")


def _first_number(module: nn.Module) -> Tensor | None:
    """The first floating-point parameter of a module, or else buffer, some of which have a type of their own."""
    return next((found for kind in ("_parameters", "_buffers") if (found := _first_of(module, kind)) is not None), None)


def _first_of(module: nn.Module, kind: str) -> Tensor | None:
    """The first floating-point number of a kind; `Module.parameters` takes a hundred times as long to begin."""
    for value in getattr(module, kind).values():
        if value is not None and value.is_floating_point():
            found: Tensor = value
            return found
    children = (_first_of(child, kind) for child in module._modules.values() if child is not None)
    return next((value for value in children if value is not None), None)


def check_points(name: str, values: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Coordinates (B, *shape) in the number type and on the device of `like`.

    Raises:
        ValueError: They have another shape.
    """
    values = as_tensor(name, values)
    if values.ndim == 1 and not len(values):
        values = values.new_zeros(0, *shape)
    if values.dtype == torch.bool:
        raise ValueError(f"{name} are True and False; expected real numbers, pixels")
    if values.is_complex() or values.ndim != 1 + len(shape) or values.shape[1:] != shape:
        expected = ", ".join(("B", *map(str, shape)))
        hint = f"; give {name}[None] for one face" if values.shape == shape else ""
        raise ValueError(f"{name} have shape {tuple(values.shape)}; expected real numbers of shape ({expected}){hint}")
    return values.to(like)


def check_params(params: ShapeParams, pdm: PDM) -> ShapeParams:
    """Parameters of B faces of a shape model, in its number type and on its device.

    Raises:
        ValueError: They have other shapes, or are another model's.
    """
    values = [as_tensor(name, value) for name, value in vars(params).items()]
    rows = values[0].shape[:1]
    expected = [(*rows, *shape) for shape in ((), (3,), (2,), (pdm.num_modes,))]
    if not rows or [tuple(value.shape) for value in values] != expected or any(value.is_complex() for value in values):
        found = ", ".join(f"{name} {tuple(value.shape)}" for name, value in zip(vars(params), values, strict=True))
        raise ValueError(
            f"params have {found}; expected scale (B,), rotation (B, 3), translation (B, 2) and local "
            f"(B, {pdm.num_modes}), of this shape model"
        )
    return ShapeParams(*(value.to(pdm.mean) for value in values))


def read_images(
    frames: Frames, image_index: Any, faces: int, device: torch.device, owner: Any = None
) -> tuple[ImageBatch, Tensor]:
    """The gray frames on a device, and the faces (B,) whose frame exists.

    Args:
        frames: See `as_frames`.
        image_index: Which of the frames each face is in, shape (B,); may be left out for one frame, or for one face
            per frame.
        faces: Number of faces B.
        device: Where to.
        owner: The detector, which warns once of frames in 0 to 1; None: nobody does.

    Raises:
        ValueError: Shapes or types are wrong.
    """
    frames = as_frames(frames)
    if owner is not None:
        warn_of_unit_range(owner, frames)
    gray = to_gray(frames.to(device))
    image_index = image_index_of_each(gray, image_index, faces).to(device)
    exists = (image_index >= 0) & (image_index < gray.shape[0])
    # Something to look at for faces without a frame
    gray = gray if len(gray) else gray.new_zeros(1, *gray.shape[1:])
    return ImageBatch(gray, torch.where(exists, image_index, 0)), exists


def warn_of_boxes_outside(owner: Any, boxes: Tensor, framed: Tensor, size: tuple[int, int]) -> None:
    """Warns where most boxes of a detector's first call leave the image, as corners that are taken for sizes do.

    Args:
        owner: The detector, which remembers. Where its boxes are on another device than the CPU nobody looks: a look is
            a transfer.
        boxes: x, y, width, height in pixels, shape (B, 4).
        framed: Those whose image exists, bool, shape (B,).
        size: Height and width of the images.
    """
    if getattr(owner, "_knows_boxes", False) or not len(boxes) or not min(size) or not is_readable(boxes):
        return
    owner._knows_boxes, boxes = True, boxes[framed]
    start, extent = boxes[:, :2], boxes[:, 2:]
    beyond = start + extent - boxes.new_tensor((size[1], size[0]))
    outside = int((beyond > OUTSIDE * extent).any(-1).sum())
    if 2 * outside > len(boxes):
        warnings.warn(
            f"{outside} of {len(boxes)} boxes leave the images of {size[1]} x {size[0]} pixels; boxes are x, y, width, "
            'height: for corners x, y, x, y give box_format="xyxy"',
            stacklevel=3,
        )


def image_index_of_each(frames: Tensor, image_index: Any, faces: int) -> Tensor:
    """Which of the frames each face is in, int64, shape (B,); arguments and errors as of `read_images`."""
    if image_index is None and frames.shape[0] not in (1, faces):
        raise ValueError(f"{faces} faces in {frames.shape[0]} frames: say with image_index (B,) which frame each is in")
    if image_index is None:
        frames_of_their_own = frames.shape[0] == faces
        image_index = torch.arange(faces, device=frames.device)
        image_index = image_index if frames_of_their_own else torch.zeros_like(image_index)
    image_index = as_tensor("image_index", image_index)
    if not faces and image_index.shape == (0,):
        image_index = image_index.long()
    if image_index.shape != (faces,) or image_index.dtype not in WHOLE:
        raise ValueError(
            f"image_index is {image_index.dtype} of shape {tuple(image_index.shape)}; "
            f"expected one whole number per face, ({faces},)"
        )
    return image_index.to(torch.int64)


def known_beforehand(
    shape: tuple[int, int], like: Tensor, regularisation: Any, landmark_weight: Any, visible: Any
) -> tuple[dict[str, Tensor | None], Tensor]:
    """What is known about each face beforehand, as `FitState` holds it, one row per face.

    Args:
        shape: Number of faces and of landmarks (B, N).
        like: Gives number type and device.
        regularisation: A number, or one per face (B,).
        landmark_weight: Shape (N,) or (B, N).
        visible: Shape (N,) or (B, N).

    Returns:
        The fields; and the faces whose numbers make sense, bool, shape (B,): nothing is negative, infinite or NaN, and
        at least `LEAST_LANDMARKS` landmarks count. The fields of the others are numbers that do no harm.

    Raises:
        ValueError: Something belongs to another number of faces or landmarks, or one number for all makes no sense.
    """
    valid = torch.ones(shape[0], dtype=torch.bool, device=like.device)
    counts = valid[:, None].expand(shape)
    if regularisation is not None:
        if isinstance(regularisation, int | float):
            if isinstance(regularisation, bool) or not 0 <= regularisation < math.inf:
                raise ValueError(f"regularisation is {regularisation}; expected a finite number that is not negative")
            regularisation = like.new_full((), float(regularisation))
        regularisation = as_tensor("regularisation", regularisation).to(like)
        regularisation = _expanded("regularisation", regularisation, shape[:1])
        valid = valid & _sensible(regularisation)
        regularisation = torch.where(valid, regularisation, 1)
    if landmark_weight is not None:
        landmark_weight = _expanded("landmark_weight", as_tensor("landmark_weight", landmark_weight).to(like), shape)
        valid = valid & _sensible(landmark_weight).all(-1)
        counts = counts & (landmark_weight > 0)
        landmark_weight = torch.where(valid[:, None], landmark_weight, 1)
    if visible is not None:
        visible = as_tensor("visible", visible).to(device=like.device, dtype=torch.bool)
        visible = _expanded("visible", visible, shape)
        counts = counts & visible
    hidden = None if visible is None else ~visible
    known = {"landmark_weight": landmark_weight, "hidden": hidden, "regularisation": regularisation}
    return known, valid & (counts.sum(-1) >= min(LEAST_LANDMARKS, shape[1]))


def _sensible(values: Tensor) -> Tensor:
    """Which numbers are finite and not negative, bool."""
    return values.isfinite() & (values >= 0)


def _expanded(name: str, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values for every face; refuses those that do not belong to so many."""
    try:
        return values.expand(shape)
    except RuntimeError:
        raise ValueError(
            f"{name} has shape {tuple(values.shape)}; expected {shape} or one that broadcasts to it"
        ) from None
