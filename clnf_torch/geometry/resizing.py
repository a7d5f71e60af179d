"""Parts of images brought to one size, as ``cv::resize`` does it."""

import torch
from torch import Tensor

from clnf_torch.geometry.sampling import Cells, read_bilinear


def resize_patches(
    padded: Tensor, image_index: Tensor, patches: Tensor, size: tuple[int, int], dtype: torch.dtype
) -> Tensor:
    """Rectangles of images, resized bilinearly, pixel centres on pixel centres, without smoothing.

    Args:
        padded: Images from `pad_with_black`, shape (F, C, H + 4, W + 4), uint8 or floating point.
        image_index: Image of each patch, int64, shape (K,).
        patches: x, y, width, height in whole pixels, int64, shape (K, 4); what lies outside the image is black.
        size: Height h and width w to resize to.
        dtype: Number type of the result.

    Returns:
        Shape (K, C, h, w).

    Source:
        ``cv::resize`` with ``INTER_LINEAR`` on float32 images, which places its samples in float32.
    """
    channels = padded.shape[1]
    column, right = _positions(patches[:, 0], patches[:, 2], size[1])
    row, down = _positions(patches[:, 1], patches[:, 3], size[0])
    cells = Cells(column[:, None, :], row[:, :, None], right[:, None, :], down[:, :, None])
    image = image_index[:, None] * channels + torch.arange(channels, device=image_index.device)
    cells = Cells(*(part.repeat_interleave(channels, 0) for part in cells))
    return read_bilinear(padded.flatten(0, 1), image.flatten(), cells, dtype).unflatten(0, (-1, channels))


def _positions(first: Tensor, length: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pixels (K, count) left of evenly spaced samples of the ranges, and the fractions to the next ones."""
    steps = torch.arange(count, dtype=torch.float64, device=length.device) + 0.5
    position = (steps * (length[:, None].double() / count) - 0.5).float()
    # The outermost pixels go on outwards
    position = torch.minimum(position.clamp_min(0), length[:, None] - 1.0)
    pixel = position.floor()
    return first[:, None] + pixel.long(), position - pixel
