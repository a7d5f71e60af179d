"""Areas of interest: what lies around each landmark, seen in the upright reference frame of the patch experts."""

import torch
from torch import Tensor

from clnf_torch.geometry.pyramid import Pyramid
from clnf_torch.geometry.sampling import (
    MARGIN,
    Cells,
    affine_cells,
    affine_cells_32nds,
    pad_with_black,
    read_bilinear,
)

BESIDE = -1e6  # pixels; a position that is black in every picture
CPU_NUMBERS = 1 << 18  # grey levels to read at once, so that what is worked on stays in the cache


class Pictures:
    """Grey pictures, made ready once for all areas that a fit will cut from them.

    Args:
        grey: Pictures, shape (F, H, W), uint8 or floating point in 0 to 255.
        frame: Picture of each face, int64, shape (B,).
    """

    def __init__(self, grey: Tensor, frame: Tensor) -> None:
        self._padded, self._frame = pad_with_black(grey), frame
        self._sizes: list[Pyramid] = []  # one, once smooth areas were cut

    def rows(self, index: Tensor) -> "Pictures":
        """The same pictures for other faces: those of these rows."""
        other = object.__new__(Pictures)
        other._padded, other._frame, other._sizes = self._padded, self._frame[index], self._sizes
        return other

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        _, rows, columns = self._padded.shape
        return rows - 2 * MARGIN, columns - 2 * MARGIN

    def without_last_pixels(self) -> "Pictures":
        """The same pictures, black in their last row and column."""
        return Pictures(self._grey[:, :-1, :-1], self._frame)

    @property
    def _grey(self) -> Tensor:
        """The pictures (F, H, W) without their margins."""
        height, width = self.size
        return self._padded[:, MARGIN : MARGIN + height, MARGIN : MARGIN + width]

    def read(self, cells: Cells, dtype: torch.dtype) -> Tensor:
        """Grey levels of faces between pixels, shape (B, ...), the shape of the cells; 0 outside the picture."""
        return read_bilinear(self._padded, self._frame, cells, dtype)

    def cut_areas(self, landmarks: Tensor, to_image: Tensor, width: int, on_32nds: bool) -> Tensor:
        """Areas around landmarks, turned and scaled to the reference frame.

        Args:
            landmarks: Centres (x, y), pixels, shape (B, N, 2).
            to_image: The map from reference to picture, shape (B, 2, 2).
            width: Side A of the areas, reference pixels.
            on_32nds: Read at positions rounded to 1/32 pixel, as OpenCV 4 does; otherwise exactly, and differentiably.

        Returns:
            Grey levels, 0 outside the picture, shape (B, N, A, A).

        Source:
            OpenFace ``Patch_experts::Response``.
        """
        matrix = area_to_picture(landmarks, to_image, width)
        to_cells = affine_cells_32nds if on_32nds else affine_cells
        numbers = landmarks.shape[1] * width * width
        some = max(1, CPU_NUMBERS // numbers) if landmarks.device.type == "cpu" else max(1, len(landmarks))
        areas = [
            read_bilinear(self._padded, frame, to_cells(block, width), landmarks.dtype)
            for block, frame in zip(matrix.split(some), self._frame.split(some), strict=True)
        ]
        return torch.cat(areas)

    def cut_smooth_areas(self, landmarks: Tensor, to_image: Tensor, width: int) -> Tensor:
        """Areas as `cut_areas` cuts them, exactly and without aliasing: large faces come from smaller pictures."""
        if not self._sizes:
            self._sizes.append(Pyramid.of(self._grey))
        return self._sizes[0].read(self._frame, area_to_picture(landmarks, to_image, width), width)


class Looking:
    """What experts see of the pictures of B faces, and which faces have anything to see.

    Args:
        pictures: The pictures of the faces.
        on_32nds: See `Pictures.cut_areas`.
    """

    def __init__(self, pictures: Pictures, on_32nds: bool) -> None:
        self._pictures, self._on_32nds = pictures, on_32nds
        self.readable = torch.ones(())  # (B,) bool once areas were cut: faces that showed nothing but finite numbers

    def cut_areas(self, centres: Tensor, to_image: Tensor, width: int, *, smooth: bool = False) -> Tensor:
        """Areas (B, K, A, A) around points (B, K, 2) of each face; black ones of faces that cannot be read."""
        areas = self._cut(centres, to_image, width, smooth)
        self.readable = areas.sum((-3, -2, -1)).isfinite()
        if areas.requires_grad:  # rows that cannot be read look beside the picture, and send no NaN back
            areas = self._cut(centres.where(self.readable[:, None, None], BESIDE), to_image, width, smooth)
        return torch.where(self.readable[:, None, None, None], areas, 0)

    def _cut(self, centres: Tensor, to_image: Tensor, width: int, smooth: bool) -> Tensor:
        """Areas as they are; smooth ones lie exactly where they lie, whatever the numerics."""
        if smooth:
            return self._pictures.cut_smooth_areas(centres, to_image, width)
        return self._pictures.cut_areas(centres, to_image, width, self._on_32nds)


def area_to_picture(landmarks: Tensor, to_image: Tensor, width: int) -> Tensor:
    """The affine map from each landmark's area to the picture, (B, N, 2, 3); arguments as in `Pictures.cut_areas`."""
    a, b = to_image[:, 0, 0, None], -to_image[:, 0, 1, None]
    half = (width - 1) / 2
    x, y = landmarks.unbind(-1)
    x, y = (
        x - a * half + b * half,
        y - a * half - b * half,
    )  # OpenFace: in this order, which decides ties of the 1/32-pixel lattice
    a, b = a.expand_as(x), b.expand_as(x)
    return torch.stack((a, -b, x, b, a, y), dim=-1).unflatten(-1, (2, 3))
