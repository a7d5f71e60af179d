"""What heatmap experts want of a network."""

from abc import abstractmethod

from torch import Tensor

from clnf_torch.models import compiled


class HeatmapNetwork(compiled.KnownNumbers):
    """A network that sees the whole face and gives maps of scores for all landmarks; where it can, as compiled loops.

    Attributes:
        landmarks: Number N of maps.
        stride: Z, pixels of the image along a cell of the maps.
    """

    landmarks: int
    stride: int

    @abstractmethod
    def has_loops_for(self, gray: Tensor) -> bool:
        """Whether maps of images (B, A, A) can be compiled loops'."""

    @abstractmethod
    def fill_heatmaps(self, gray: Tensor, found: Tensor) -> None:
        """Fills in the softmax of the scores, (B, N, A / Z, A / Z), by the loops."""
