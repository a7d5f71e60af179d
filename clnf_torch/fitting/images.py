"""Crops of images: what lies around each landmark, seen in the upright reference frame of the patch experts."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import recorded
from clnf_torch.fitting import compiled
from clnf_torch.geometry.pyramid import Pyramid
from clnf_torch.geometry.sampling import (
    MARGIN,
    Cells,
    affine_cells,
    affine_cells_32nds,
    pad_with_black,
    read_bilinear,
)
from clnf_torch.models.numerics import Numerics
from clnf_torch.models.patch_experts.base import CropRequest

# Pixels; a position that is black in every image
BESIDE = -1e6
# Number types of images that compiled loops read
COMPILED = (torch.uint8, torch.float32)
# Gray levels to read at once, so that what is worked on stays in the cache
CPU_NUMBERS = 1 << 18


class ImageBatch:
    """Gray images, made ready once for all areas that a fit will cut from them.

    Args:
        gray: Images, shape (F, H, W), uint8 or floating point in 0 to 255.
        image_index: Image of each face, int64, shape (B,).
    """

    def __init__(self, gray: Tensor, image_index: Tensor) -> None:
        self._whole, self._image_index, self._trimmed = pad_with_black(gray), image_index, 0
        # What is made of the images once it is needed: smaller sizes, and images without their last pixels
        self._sizes: list[Pyramid] = []
        self._shown: list[Tensor] = []

    def rows(self, index: Tensor) -> "ImageBatch":
        """The same images for other faces: those of these rows."""
        other = copy(self)
        other._image_index = self._image_index[index]
        return other

    def repeated(self, count: int) -> "ImageBatch":
        """The same images for the same faces, so many times one after the other."""
        other = copy(self)
        other._image_index = self._image_index.repeat(count)
        return other

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        _, rows, columns = self._whole.shape
        return rows - 2 * MARGIN - self._trimmed, columns - 2 * MARGIN - self._trimmed

    def without_last_pixels(self) -> "ImageBatch":
        """The same images without their last row and column."""
        other = copy(self)
        other._trimmed, other._sizes, other._shown = self._trimmed + 1, [], []
        return other

    @property
    def _padded(self) -> Tensor:
        """The images with their margins (F, H + 4, W + 4)."""
        if self._trimmed == 0:
            return self._whole
        if not self._shown:
            self._shown.append(pad_with_black(self._gray))
        return self._shown[0]

    @property
    def _gray(self) -> Tensor:
        """The images (F, H, W) without their margins."""
        height, width = self.size
        return self._whole[:, MARGIN : MARGIN + height, MARGIN : MARGIN + width]

    def read(self, cells: Cells, dtype: torch.dtype) -> Tensor:
        """Gray levels of faces between pixels, shape (B, ...), the shape of the cells; 0 outside the image."""
        return read_bilinear(self._padded, self._image_index, cells, dtype)

    def read_warped(self, landmarks: Tensor, corner: Tensor, table: Sequence[Tensor], on_32nds: bool) -> Tensor | None:
        """What `warp_positions` and `read` give for landmarks, by compiled loops; None where they cannot run.

        Args:
            landmarks: Pixels (x, y) from the corner on, shape (B, N, 2).
            corner: Whole pixels (x, y), shape (B, 2).
            table: Triangles, alpha, beta, pixels, and the triangle of each; see `triangle_maps` and `warp_positions`.
            on_32nds: Read at positions rounded to 1/32 pixel.

        Returns:
            Gray levels, shape (B, P).
        """
        _, alpha, beta, pixels, _ = table
        if not (self._has_loops_for(landmarks, corner) and compiled.usable(alpha, beta, pixels)):
            return None
        index = self._image_index
        loops = compiled.kernels("cpu")
        gray: Tensor = loops.read_warped(self._whole, self.size, index, landmarks, corner, table, on_32nds)
        return gray

    def crop(self, request: CropRequest, numerics: Numerics) -> tuple[Tensor, Tensor]:
        """What experts want to see.

        Args:
            request: From `Experts.crop_request`.
            numerics: OpenFace's approximations or the exact forms.

        Returns:
            Gray levels, black outside the image and in rows that cannot be read, shape (B, K, A, A); and the rows that
            can: those that show nothing but finite numbers, bool, shape (B,).
        """
        if request.zoom != 1:
            request = replace(request, to_image=request.to_image / request.zoom, zoom=1)
        centers, to_image = request.centers, request.to_image
        if not request.smooth and self._has_loops_for(centers, to_image):
            index, on_32nds = self._image_index, numerics.sample_on_32nds
            loops = compiled.kernels("cpu")
            found: tuple[Tensor, Tensor] = loops.crop(self._padded, index, centers, to_image, request.width, on_32nds)
            return found
        crops = self._crop(request, numerics)
        readable = crops.sum((-3, -2, -1)).isfinite()
        # Rows that cannot be read look beside the image, and send no NaN back
        if crops.requires_grad:
            beside = replace(request, centers=request.centers.where(readable[:, None, None], BESIDE))
            crops = self._crop(beside, numerics)
        return torch.where(readable[:, None, None, None], crops, 0), readable

    def _crop(self, request: CropRequest, numerics: Numerics) -> Tensor:
        """Crops (B, K, A, A) as the images show them."""
        if request.smooth:
            return self.cut_smooth_areas(request.centers, request.to_image, request.width)
        return self.cut_areas(request.centers, request.to_image, request.width, numerics.sample_on_32nds)

    def cut_areas(self, landmarks: Tensor, to_image: Tensor, width: int, on_32nds: bool) -> Tensor:
        """Areas around landmarks, turned and scaled to the reference frame.

        Args:
            landmarks: Centres (x, y), pixels, shape (B, N, 2).
            to_image: The map from reference to image, shape (B, 2, 2).
            width: Side A of the areas, reference pixels.
            on_32nds: Read at positions rounded to 1/32 pixel, as OpenCV 4 does; otherwise exactly, and differentiably.

        Returns:
            Gray levels, 0 outside the image, shape (B, N, A, A).

        Source:
            OpenFace ``Patch_experts::Response``.
        """
        if self._has_loops_for(landmarks, to_image):
            loops, index = compiled.kernels("cpu"), self._image_index
            cut: Tensor = loops.cut_areas(self._padded, index, landmarks, to_image, width, on_32nds)
            return cut
        matrix = area_to_image(landmarks, to_image, width)
        to_cells = affine_cells_32nds if on_32nds else affine_cells
        numbers = landmarks.shape[1] * width * width
        some = max(1, CPU_NUMBERS // numbers) if landmarks.device.type == "cpu" else max(1, len(landmarks))
        areas = [
            read_bilinear(self._padded, image_index, to_cells(block, width), landmarks.dtype)
            for block, image_index in zip(matrix.split(some), self._image_index.split(some), strict=True)
        ]
        return torch.cat(areas)

    @property
    def recorded(self) -> bool:
        """Whether gradients of what is read are recorded."""
        return recorded(self._whole)

    def _has_loops_for(self, landmarks: Tensor, to_image: Tensor) -> bool:
        """Whether compiled loops can cut areas around landmarks."""
        plain = landmarks.is_cpu and self._whole.dtype in COMPILED and not self.recorded
        return plain and compiled.usable(landmarks, to_image)

    def cut_smooth_areas(self, landmarks: Tensor, to_image: Tensor, width: int) -> Tensor:
        """Areas as `cut_areas` cuts them, exactly and without aliasing: large faces come from smaller images."""
        if not self._sizes:
            self._sizes.append(Pyramid.of(self._gray))
        return self._sizes[0].read(self._image_index, area_to_image(landmarks, to_image, width), width)


def area_to_image(landmarks: Tensor, to_image: Tensor, width: int) -> Tensor:
    """The affine map from each landmark's area to the image, (B, N, 2, 3); arguments as in `ImageBatch.cut_areas`."""
    a, b = to_image[:, 0, 0, None], -to_image[:, 0, 1, None]
    half = (width - 1) / 2
    x, y = landmarks.unbind(-1)
    # OpenFace: in this order, which decides ties of the 1/32-pixel lattice
    x, y = (
        x - a * half + b * half,
        y - a * half - b * half,
    )
    a, b = a.expand_as(x), b.expand_as(x)
    return torch.stack((a, -b, x, b, a, y), dim=-1).unflatten(-1, (2, 3))
