"""Boxes on their way through a cascade of networks: corrected, squared, thinned out."""

from typing import NamedTuple

import torch
from torch import Tensor

from clnf_torch.geometry.boxes import suppress, whole_boxes


class Candidates(NamedTuple):
    """Boxes that may hold faces."""

    boxes: Tensor  # (K, 4) x, y, width, height in pixels
    score: Tensor  # (K,) probability of a face
    correction: Tensor  # (K, 4) how far to move left, top, right and bottom, in widths and heights
    frame: Tensor  # (K,) int64

    def take(self, rows: Tensor) -> "Candidates":
        """Some of them, by index or as a mask."""
        return Candidates(*(values[rows] for values in self))

    def thinned(self, threshold: float, group: Tensor | None = None, of_smaller: bool = False) -> "Candidates":
        """The best of those that overlap, by frame (or by a finer group) and from the best to the worst."""
        group = self.frame if group is None else group
        return self.take(suppress(self.boxes, self.score, group, threshold, of_smaller))

    def corrected(self, grown: int = 0) -> "Candidates":
        """The boxes, rounded to whole pixels, moved where the network says.

        Args:
            grown: Pixels to add to width and height first.

        Source:
            OpenFace ``apply_correction``.
        """
        x, y, width, height = whole_boxes(self.boxes).to(self.boxes.dtype).unbind(-1)
        width, height = width + grown, height + grown
        left, top, right, bottom = self.correction.unbind(-1)
        x1, y1 = x + left * width, y + top * height
        x2, y2 = (x + width) + width * right, (y + height) + height * bottom
        return self._replace(boxes=torch.stack((x1, y1, x2 - x1, y2 - y1), dim=-1))

    def squared(self) -> "Candidates":
        """The boxes made as high as they are wide, around their middle, in whole pixels towards zero.

        Source:
            OpenFace ``rectify``.
        """
        x, y, width, height = self.boxes.unbind(-1)
        side = torch.maximum(width, height)
        x, y = (x + 0.5 * (width - side)).trunc(), (y + 0.5 * (height - side)).trunc()
        return self._replace(boxes=torch.stack((x, y, side.trunc(), side.trunc()), dim=-1))
