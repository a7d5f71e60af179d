"""Surroundings: what lies outside a photograph or a rendering is filled, so that it does not tell where the face is.

Free photographs and renderings end not far from the face. Crops that reach beyond have black there, and a network
that starts from boxes far off the face would learn that faces lie in the middle of what is not black. Here an image
goes on as its own mirror image, which soon fades into a part of another image, enlarged.
"""

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops

# Shares of faces: those that keep the black, as real photographs end, too; and those whose image ends at a line
BLACK, LINE = 0.1, 0.3
# Where the mirror image has faded, shares of the crop's side beyond the edge; a face's mirror image would be farther
FADED = (0.05, 0.2)
# How many times the other image is enlarged: what is seen of it is no whole face of this one's size
ENLARGED = (1.5, 4.0)
# Pixels at the edge of an image that are mixed with the black beyond
MIXED = 2
# Faces that are worked on together
BATCH = 64


def with_surroundings(faces: FaceCrops, sampler: Sampler) -> FaceCrops:
    """The faces, with something in most crops where the image ends.

    Args:
        faces: F crops, black outside their images, as `cut_crops` makes them.
        sampler: Gives the random numbers.

    Returns:
        As many, in the same order, with the same landmarks; what the images show is unchanged.
    """
    if not len(faces):
        return faces
    filled = [_filled(gray, sampler) for gray in faces.gray.split(BATCH)]
    return FaceCrops(gray=torch.cat(filled), landmarks=faces.landmarks)


def _filled(gray: Tensor, sampler: Sampler) -> Tensor:
    """Crops (B, S, S), uint8, filled outside their images."""
    count, side = len(gray), gray.shape[-1]
    columns, rows = _shown(gray.amax(1)), _shown(gray.amax(2))
    going_on = _mirrored(gray.float(), columns, rows)
    other = _enlarged(going_on.roll(1, 0), sampler)
    beyond = torch.maximum(_beyond(rows, side)[:, :, None], _beyond(columns, side)[:, None])  # (B, S, S) pixels
    width = sampler.uniform(*FADED, count, 1, 1) * (~sampler.bernoulli(LINE, count, 1, 1)) * side
    seen = torch.lerp(going_on, other, (beyond / width.clamp(min=1)).clamp(0, 1))
    seen = seen.masked_fill(sampler.bernoulli(BLACK, count, 1, 1), 0).round().clamp(0, 255).to(torch.uint8)
    return torch.where(beyond > 0, seen, gray)


def _shown(brightest: Tensor) -> Tensor:
    """First and last line of those (B, S) that show an image, whose edge is left out, shape (B, 2)."""
    lit = (brightest > 0).to(torch.uint8)
    before, after = lit.argmax(1), lit.flip(1).argmax(1)  # lines in black, none where all are
    inset = (torch.where(lines > 0, lines + MIXED, 0) for lines in (before, after))
    first, after = (lines.clamp(max=(lit.shape[1] - 1) // 2) for lines in inset)
    return torch.stack((first, lit.shape[1] - 1 - after), 1)


def _beyond(shown: Tensor, side: int) -> Tensor:
    """How far the lines of crops are beyond those shown (B, 2), shape (B, S), 0 within."""
    line = torch.arange(side, device=shown.device)
    return torch.maximum(shown[:, :1] - line, line - shown[:, 1:]).clamp(min=0)


def _mirrored(gray: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Crops (B, S, S) that go on beyond the columns and rows shown (B, 2) as their mirror image, again and again."""
    count, side = len(gray), gray.shape[-1]
    across, down = (_source(shown, side) for shown in (columns, rows))
    gray = gray.gather(1, down[:, :, None].expand(count, side, side))
    return gray.gather(2, across[:, None].expand(count, side, side))


def _source(shown: Tensor, side: int) -> Tensor:
    """The line (B, S) that each line of a crop repeats, itself within those shown (B, 2)."""
    first, length = shown[:, :1], shown[:, 1:] - shown[:, :1] + 1
    place = (torch.arange(side, device=shown.device) - first).remainder(2 * length)
    return first + torch.minimum(place, 2 * length - 1 - place)


def _enlarged(images: Tensor, sampler: Sampler) -> Tensor:
    """A part of each image (B, S, S), enlarged to its size, half of them mirrored."""
    count = len(images)
    part = 1 / sampler.log_uniform(*ENLARGED, count)
    place = sampler.uniform(-1, 1, count, 2) * (1 - part)[:, None]
    theta = images.new_zeros(count, 2, 3)
    theta[:, 0, 0] = part * torch.where(sampler.bernoulli(0.5, count), -1.0, 1.0)
    theta[:, 1, 1], theta[:, :, 2] = part, place
    grid = affine_grid(theta, [count, 1, *images.shape[1:]], align_corners=False)
    return grid_sample(images[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
