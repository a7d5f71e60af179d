"""The block that MediaPipe's small networks are built of: a filter for each channel and a product, added to the maps.

Source:
    V. Bazarevsky et al., *BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs*, 2019.
"""

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad, prelu

from clnf_torch.compilation.conditions import recorded
from clnf_torch.models.batch_invariant import Conv2d


class Depthwise(nn.Conv2d):
    """A 3 x 3 filter for each channel; halving maps, it begins at their first pixel or (centred) one before it."""

    def __init__(self, channels: int, stride: int = 1, centred: bool = True) -> None:
        super().__init__(channels, channels, 3, stride, int(centred or stride == 1), groups=channels)
        # As TensorFlow pads: the odd row and column come last
        self._late = not centred and stride == 2

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (F, C, H, W) of this size, or of half of it."""
        return super().forward(pad(maps, (0, 1, 0, 1)) if self._late else maps)


class PReLU(nn.PReLU):
    """`torch.nn.PReLU` that leaves maps in the number type that they have, as under autocast."""

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of the same shape."""
        return prelu(maps, self.weight.to(maps.dtype))


class BlazeBlock(nn.Module):
    """A filter for each channel and a product, added to the maps, or to their maxima.

    Args:
        inputs: Channels C.
        outputs: Channels C', C or more.
        stride: 1, or 2 where maps are halved.
        activation: Of the sum; may overwrite it.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activation: nn.Module) -> None:
        super().__init__()
        self.depthwise, self.pointwise = Depthwise(inputs, stride, centred=False), Conv2d(inputs, outputs, 1)
        self.activation, self.stride = activation, stride

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (F, C', H', W') of maps (F, C, H, W)."""
        residual = self.pointwise(self.depthwise(maps))
        kept = max_pool2d(maps, 2) if self.stride == 2 else maps
        # New channels have nothing to be added to
        lacking = residual.shape[1] - kept.shape[1]
        if lacking and recorded(residual, kept):
            # A sum in a part of the maps would be copied on the way back
            kept, lacking = pad(kept, (0, 0, 0, 0, 0, lacking)), 0
        (residual[:, :-lacking] if lacking else residual).add_(kept)
        found: Tensor = self.activation(residual)
        return found
