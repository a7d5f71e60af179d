"""What the networks of heatmap experts have in common."""

from abc import abstractmethod

import torch
from torch import Tensor

from clnf_torch.models import compiled

# Gray levels; an image flatter than this is not made more contrasty
LEAST_DEVIATION = 1.0


class HeatmapNetwork(compiled.KnownNumbers):
    """A network that sees the whole face and gives maps of scores for all landmarks; where it can, as compiled loops.

    Attributes:
        landmarks: Number N of maps.
        widths: Channels of its layers.
        stride: Z, pixels of the image along a cell of the maps.
    """

    landmarks: int
    widths: tuple[int, ...]
    stride: int

    def has_loops_for(self, gray: Tensor) -> bool:
        """Whether maps of images (B, A, A) can be compiled loops'."""
        plain = compiled.usable(gray, self.numbers())
        return plain and compiled.kernels().fills_vectors((*self.widths, self.landmarks))

    @abstractmethod
    def fill_heatmaps(self, gray: Tensor, found: Tensor) -> None:
        """Fills in the softmax of the scores, (B, N, A / Z, A / Z), by the loops."""

    def fuse_batchnorm(self) -> "HeatmapNetwork":
        """The same network for inference, its batch normalisations, if any, fused into the convolutions before them."""
        return self.eval()


def standardised(gray: Tensor) -> Tensor:
    """Images (B, A, A) minus their mean, divided by their deviation."""
    deviation, mean = torch.std_mean(gray, (-2, -1), keepdim=True)
    return (gray - mean) / deviation.clamp(min=LEAST_DEVIATION)
