"""Pictures in several sharpnesses, as cameras and distances give them: halved again and again."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d


def halved(grey: Tensor, levels: int) -> tuple[Tensor, ...]:
    """Pictures (F, S, S), uint8, in so many sharpnesses, the sharpest first."""
    pictures = [grey]
    for _ in range(levels - 1):
        pictures.append(avg_pool2d(pictures[-1].float()[:, None], 2)[:, 0].round().to(torch.uint8))
    return tuple(pictures)


def in_halved(positions: Tensor, level: int) -> Tensor:
    """Where positions of a picture are in its halving of that number: outer edges of pixels fall on each other."""
    return (positions + 0.5) / 2**level - 0.5
