"""Frames as callers have them (tensors, arrays, lists of images), as a batch of gray or RGB images."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from clnf_torch.geometry.host import is_batched
from clnf_torch.geometry.pillow import is_pillow_image, pillow_pixels

Frames: TypeAlias = Any
"""A tensor or array, gray (F, H, W), (F, 1, H, W) or RGB (F, 3, H, W); or a list of images of one size."""
# Every so many pixels along each axis are looked at first, to see whether gray levels go up to 255 or to 1
SPARSE = 16
# Number types of frames; torch computes nothing in shorter ones
FRAME_TYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)


def as_tensor(name: str, values: Any) -> Tensor:
    """Numbers as a tensor: tensors, arrays with numpy's interface, lists of either, and of numbers.

    Raises:
        ValueError: They are none of these.
    """
    if isinstance(values, Tensor):
        return values
    try:
        if hasattr(values, "astype"):
            # Contiguous, in this machine's byte order, and writable, as torch wants arrays
            return torch.as_tensor(values.astype(values.dtype.newbyteorder("="), order="C"), device="cpu")
        if isinstance(values, Sequence) and not isinstance(values, str | bytes):
            if any(getattr(value, "ndim", 0) for value in values):
                return torch.stack([as_tensor(name, value) for value in values])
            return torch.as_tensor(values, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{name} do not make a tensor: {str(error).splitlines()[0][:120]}") from None
    expected = "a tensor, an array or a list of numbers"
    raise ValueError(f"{name} are of type {type(values).__name__}; expected {expected}{list_hint(values)}")


def list_hint(values: Any) -> str:
    """What makes a list of something refused that gives its items one by one, such as a generator; "" of others."""
    iterable = isinstance(values, Iterable) and not isinstance(values, list | tuple | str | bytes | Mapping)
    return "; give a list of it, list(...)" if iterable else ""


def as_frames(frames: Frames) -> Tensor:
    """A batch of images with channels, (F, 1, H, W) or (F, 3, H, W).

    Args:
        frames: Gray (F, H, W) or (F, 1, H, W), or RGB (F, 3, H, W), as a tensor or an array; or a list of images of one
            size, each gray (H, W) or (1, H, W), or RGB (3, H, W), or one of Pillow's, which is turned upright as its
            EXIF orientation says. uint8, or floating point from 0 to 255.

    Raises:
        ValueError: The frames have another shape or number type, or may be meant in two ways.
    """
    if isinstance(frames, list | tuple):
        frames = _stacked([_image(frame) for frame in frames])
    frames = as_tensor("frames", frames)
    check_frame_type(frames.dtype)
    shape = tuple(frames.shape)
    if frames.ndim == 3 and 3 in (shape[0], shape[2]):
        channels = "frames[None]" if shape[0] == 3 else "frames.permute(2, 0, 1)[None]"
        raise ValueError(
            f"frames have shape {shape}: one RGB image, or gray ones? Give {channels} for one RGB image, "
            "frames[:, None] for gray ones"
        )
    if frames.ndim == 3:
        return frames[:, None]
    if frames.ndim != 4 or shape[1] not in (1, 3):
        raise ValueError(
            f"frames have shape {shape}; expected gray (F, H, W) or (F, 1, H, W), or RGB (F, 3, H, W)" + _way_out(shape)
        )
    return frames


def check_frame_type(dtype: torch.dtype) -> None:
    """Refuses number types that frames do not have.

    Raises:
        ValueError: It is none of `FRAME_TYPES`.
    """
    if dtype not in FRAME_TYPES:
        raise ValueError(
            f"frames are {dtype}; give uint8, or floating point numbers from 0 to 255, of float16, bfloat16, float32 "
            "or float64"
        )


def warn_of_unit_range(owner: Any, frames: Tensor) -> None:
    """Warns once, of floating point frames (F, C, H, W) with no gray level above 1.

    Args:
        owner: The detector that is given the frames; it remembers.
        frames: The frames. On other devices than the CPU only the first are looked at, since a look is a transfer.
    """
    known = getattr(owner, "_knows_range", False)
    if known or not frames.is_floating_point() or not frames.numel() or frames.device.type == "meta":
        return
    if torch.compiler.is_compiling() or is_batched(frames):
        return
    values = frames.detach()
    low = not (values[..., ::SPARSE, ::SPARSE] > 1).any() and not (values > 1).any() and bool((values > 0).any())
    owner._knows_range = low or frames.device.type != "cpu"
    if low:
        warnings.warn(
            "no gray level of the frames is above 1; floating point frames go from 0 to 255: multiply them by 255",
            stacklevel=3,
        )


def _image(image: Any) -> Tensor:
    """One image of a list, (1 or 3, H, W)."""
    if is_pillow_image(image):
        return pillow_pixels(image)
    image = as_tensor("frames", image)
    if image.ndim == 2:
        return image[None]
    if image.ndim == 3 and image.shape[0] in (1, 3):
        return image
    shape = tuple(image.shape)
    hint = "; permute(2, 0, 1) makes (3, H, W) of (H, W, 3)" if image.ndim == 3 and shape[2] == 3 else ""
    raise ValueError(f"an image in the list has shape {shape}; expected gray (H, W) or RGB (3, H, W){hint}")


def _stacked(images: list[Tensor]) -> Tensor:
    """Images of one size and number type as a batch."""
    shapes = sorted({(tuple(image.shape), str(image.dtype).removeprefix("torch.")) for image in images})
    if not shapes:
        raise ValueError("the list of frames is empty; give at least one, or a tensor of shape (0, H, W)")
    devices = sorted({str(image.device) for image in images})
    if len(devices) > 1:
        raise ValueError(f"the list of frames holds images on {' and '.join(devices)}; move them to one device")
    if len(shapes) > 1:
        raise ValueError(
            f"the list of frames holds images of shape and type {shapes[0]} and {shapes[1]}; give each kind "
            "in a call of its own"
        )
    return torch.stack(images)


def _way_out(shape: tuple[int, ...]) -> str:
    """What makes frames of a shape of a wrong one."""
    if len(shape) == 2:
        return "; give frames[None] for one gray image"
    if len(shape) == 4 and shape[3] in (1, 3):
        return "; give frames.permute(0, 3, 1, 2)"
    if len(shape) == 4 and shape[3] == 4:
        return "; give frames[..., :3].permute(0, 3, 1, 2), without the alpha channel"
    if len(shape) == 4 and shape[1] == 4:
        return "; give frames[:, :3], without the alpha channel"
    return ""
