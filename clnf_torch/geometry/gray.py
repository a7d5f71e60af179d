"""Images to the gray levels that patch experts look at."""

from typing import Any

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import load_kernels, transformed
from clnf_torch.geometry.frames import check_frame_type

# 0.299, 0.587 and 0.114 in OpenCV's 15-bit fixed point
RED, GREEN, BLUE = 9798, 19235, 3735
# Summed at once, in int32: one image of 1920 x 1080
CPU_PIXELS = 1 << 21


def image_loops(images: Tensor) -> Any:
    """The compiled loops for images: uint8 ones, on the CPU; None where they cannot run."""
    if images.dtype != torch.uint8 or not images.is_cpu or type(images) is not Tensor or transformed():
        return None
    return load_kernels("clnf_torch.geometry.kernels.cpu.images")


def to_gray(frames: Tensor) -> Tensor:
    """Gray images (F, H, W) of gray (F, H, W) or (F, 1, H, W), or RGB (F, 3, H, W) frames; see also `as_frames`.

    Args:
        frames: uint8, or floating point in the same range 0 to 255.

    Returns:
        The frames themselves where they are gray already. Otherwise their grays: of uint8 frames uint8, rounded as
        OpenCV rounds; of floating point frames the unrounded weighted sum, through which gradients flow.

    Raises:
        ValueError: The frames have another shape or number type.

    Source:
        ``cv::cvtColor`` with ``COLOR_BGR2GRAY``, which OpenFace applies to every image.
    """
    check_frame_type(frames.dtype)
    if frames.ndim == 3:
        return frames
    if frames.ndim == 4 and frames.shape[1] == 1:
        return frames[:, 0]
    if frames.ndim != 4 or frames.shape[1] != 3:
        raise ValueError(f"frames have shape {tuple(frames.shape)}; expected gray (F, H, W) or RGB (F, 3, H, W)")
    if frames.is_floating_point():
        # Half would overflow
        red, green, blue = frames.to(torch.promote_types(frames.dtype, torch.float32)).unbind(1)
        return (RED * red + GREEN * green + BLUE * blue) / (RED + GREEN + BLUE)
    gray = torch.empty_like(frames[:, 0], memory_format=torch.contiguous_format)
    loops = image_loops(frames)
    if loops is not None:
        weights, pixels = (RED, GREEN, BLUE), frames.movedim(1, -1)
        if pixels.is_contiguous():
            loops.interleaved_to_gray(pixels.numpy().reshape(-1), weights, gray.numpy().reshape(-1))
        else:
            loops.to_gray(frames.numpy(), weights, gray.numpy())
        return gray
    some = max(1, CPU_PIXELS // max(1, gray[:1].numel())) if frames.device.type == "cpu" else max(1, len(frames))
    for colour, block in zip(frames.split(some), gray.split(some), strict=True):
        red, green, blue = colour.unbind(1)
        total = red.int().mul_(RED).add_(green, alpha=GREEN).add_(blue, alpha=BLUE)
        block.copy_(total.add_(1 << 14).bitwise_right_shift_(15))
    return gray
