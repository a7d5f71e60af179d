"""Template matching: each face is moved to where its image of the frame before correlates best, ahead of the fit."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from clnf_torch.geometry.constants import constant
from clnf_torch.geometry.records import Rows, join_rows, where_rows
from clnf_torch.geometry.resizing import pixels_at, resize_by_factors, size_mask

# Pixels per millimetre at which images are compared; OpenFace ``face_template_scale``
TEMPLATE_SCALE = 0.3


@dataclass(frozen=True)
class Templates(Rows):
    """Images of R faces, none where the size is 0.

    Attributes:
        pixels: Each in the upper left corner, uint8, shape (R, h, w).
        size: Width and height of each, int64, shape (R, 2).
    """

    pixels: Tensor
    size: Tensor

    @classmethod
    def none(cls, rows: int, device: torch.device) -> "Templates":
        """No images of so many faces."""
        pixels = torch.zeros(rows, 0, 0, dtype=torch.uint8, device=device)
        return cls(pixels, torch.zeros(rows, 2, dtype=torch.int64, device=device))

    def join(self, other: "Templates") -> "Templates":
        """The faces of both, one after the other."""
        return join_rows(*self._padded_alike(other))

    def where(self, keep: Tensor, other: "Templates") -> "Templates":
        """These images in the rows where `keep` (R,) is true, those of `other` in the rest."""
        return where_rows(keep, *self._padded_alike(other))

    def _padded_alike(self, other: "Templates") -> tuple["Templates", "Templates"]:
        """These and other images in arrays of the same height and width."""
        pixels = [self.pixels, other.pixels]
        height, width = max(each.shape[1] for each in pixels), max(each.shape[2] for each in pixels)
        padded = [functional.pad(each, (0, width - each.shape[2], 0, height - each.shape[1])) for each in pixels]
        return Templates(padded[0], self.size), Templates(padded[1], other.size)


def cut_templates(gray: Tensor, image_index: Tensor, boxes: Tensor) -> Templates:
    """Images of faces.

    Args:
        gray: Shape (F, H, W), uint8.
        image_index: Index of each face's image, int64, shape (R,).
        boxes: Boxes around the landmarks, pixels, shape (R, 4).

    Returns:
        What the images show in the boxes. OpenFace: x, y, width and height are each cut off to whole numbers.

    Source:
        OpenFace ``UpdateTemplate``.
    """
    patches = _clip(boxes, gray)
    unchanged = boxes.new_ones(boxes.shape[0], dtype=torch.float64)
    pixels, size = resize_by_factors(gray, image_index, patches, unchanged)
    return Templates(pixels.to(torch.uint8), size)


def template_shift(templates: Templates, gray: Tensor, image_index: Tensor, boxes: Tensor, scale: Tensor) -> Tensor:
    """Displacements of faces since their templates were cut, by normalised cross-correlation.

    OpenFace: the shift is a multiple of s / 0.3 pixels; it is not 0 for unchanged images, since boxes are cut off to
    whole pixels; and it is wrong by what a border cuts off, since it is measured from the uncut box. (OpenFace keeps
    the reduced template; the next success replaces it before it is used again, so we keep the original.)

    Args:
        templates: Images of R faces.
        gray: Shape (F, H, W), uint8.
        image_index: Index of each face's image, int64, shape (R,).
        boxes: Boxes around the landmarks where the faces were, pixels, shape (R, 4).
        scale: Of the faces, pixels per millimetre, shape (R,).

    Returns:
        Pixels, shape (R, 2). 0 for faces without an image, and where the search region is smaller than the image:
        OpenFace fails there.

    Source:
        OpenFace ``CorrectGlobalParametersVideo``; ``cv::matchTemplate`` with ``TM_CCOEFF_NORMED``.
    """
    region = _clip(torch.cat((boxes[:, :2] - boxes[:, 2:] / 2, 2 * boxes[:, 2:]), dim=-1), gray)
    factor = (TEMPLATE_SCALE / scale.double()).clamp_max(1.0)
    own = torch.arange(len(templates), device=image_index.device)
    whole = torch.cat((torch.zeros_like(templates.size), templates.size), dim=-1)
    template, size = resize_by_factors(templates.pixels, own, whole, factor)
    resized, region_size = resize_by_factors(gray, image_index, region, factor)
    possible = ((size > 0) & (region_size >= size)).all(-1)
    if not possible.any():
        return torch.zeros_like(boxes[:, :2])
    match = _best_match(resized, region_size, template, size)
    shift = match / factor[:, None] + region[:, :2] - boxes[:, :2]
    return torch.where(possible[:, None], shift.to(boxes), 0)


def _clip(boxes: Tensor, gray: Tensor) -> Tensor:
    """Boxes (R, 4) truncated to whole numbers and clipped to the image, int64; zeros for boxes without area."""
    whole = boxes.nan_to_num(0.0).clamp(-1e6, 1e6).long()
    limit = constant((gray.shape[2], gray.shape[1]), whole)
    first = whole[:, :2].clamp_min(0)
    last = torch.minimum(whole[:, :2] + whole[:, 2:], limit)
    size = (last - first).clamp_min(0)
    empty = (size == 0).any(-1, keepdim=True)
    return torch.where(empty, 0, torch.cat((first, size), dim=-1))


def _best_match(regions: Tensor, region_size: Tensor, template: Tensor, size: Tensor) -> Tensor:
    """Column and row (R, 2) where templates (R, h, w) match regions (R, H, W) best; the first of equals.

    Source:
        ``cv::matchTemplate`` with ``TM_CCOEFF_NORMED``.
    """
    height, width = regions.shape[1:]
    area = size.prod(-1).clamp_min(1)[:, None, None]
    mask = size_mask(size, *template.shape[1:])
    centred = (template - template.sum((1, 2), keepdim=True) / area) * mask
    product = _cross_correlation(regions, centred)
    total, squares = (_window_sums(values, size) for values in (regions, regions.square()))
    norm = centred.square().sum((1, 2), keepdim=True)
    largest = ((squares - total.square() / area).clamp_min(0) * norm).sqrt()
    score = torch.where(product.abs() < largest, product / largest, product.sign())
    # cv::matchTemplate: beyond, it is rounding
    score = torch.where(product.abs() < 1.125 * largest, score, 0.0)
    score = torch.where(norm < torch.finfo(norm.dtype).eps, 1.0, score)
    free = (region_size - size).clamp_min(0) + 1
    best = torch.where(size_mask(free, height, width) > 0, score, -torch.inf).flatten(1).argmax(-1)
    return torch.stack((best % width, best // width), dim=-1)


def _cross_correlation(regions: Tensor, template: Tensor) -> Tensor:
    """Sums of products with templates (R, h, w) at every place of regions (R, H, W), by FFT, shape (R, H, W)."""
    height, width = regions.shape[1:]
    shape = (height + template.shape[1], width + template.shape[2])
    spectrum = torch.fft.rfft2(regions, s=shape) * torch.fft.rfft2(template, s=shape).conj()
    return torch.fft.irfft2(spectrum, s=shape)[:, :height, :width]


def _window_sums(values: Tensor, size: Tensor) -> Tensor:
    """Sums of windows of each row's own size (R, 2) at every place of (R, H, W); beyond the border there are zeros."""
    height, width = values.shape[1:]
    sums = functional.pad(values.cumsum(1).cumsum(2), (1, 0, 1, 0))
    rows = torch.arange(height, device=values.device).expand(len(size), -1)
    columns = torch.arange(width, device=values.device).expand(len(size), -1)
    below, beyond = (rows + size[:, 1:]).clamp_max(height), (columns + size[:, :1]).clamp_max(width)
    own = torch.arange(len(size), device=values.device)
    corners = [
        pixels_at(sums, own, c, r) for r, c in ((below, beyond), (below, columns), (rows, beyond), (rows, columns))
    ]
    return corners[0] - corners[1] - corners[2] + corners[3]
