"""What a validator sees while it is trained: through the runtime's own warp, and normalised as the runtime does it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clnf_torch.detection.validator import ViewValidator
from clnf_torch.fitting.areas import Pictures
from clnf_torch.geometry.warp import WarpTable
from clnf_torch.models.numerics import EXACT
from clnf_torch.training.sharpness import halved

LEAST_DEVIATION = 1e-3  # of a pixel; one that is always the same says nothing


def make_view(table: dict[str, Tensor], side: int, network: nn.Module) -> ViewValidator:
    """The runtime's validator of a view around a network that can be trained, with mean 0 and deviation 1.

    Args:
        table: From `make_warp_table`.
        side: Height and width of the pictures that the network looks at, pixels.
        network: Maps pictures (B, 1, side, side) to scores (B, C).
    """
    places = table["pixels"]
    column_row = torch.stack((places % side, places // side), -1)
    warp = WarpTable(
        triangles=table["triangles"],
        alpha=table["alpha"].float(),
        beta=table["beta"].float(),
        pixels=(column_row + table["origin"]).float(),
        triangle=table["triangle"],
    )
    return ViewValidator(warp, places, (side, side), torch.zeros(len(places)), torch.ones(len(places)), network)


def set_statistics(view: ViewValidator, pictures: Pictures, shapes: Sequence[Tensor]) -> None:
    """Gives a view the mean and deviation of every pixel between landmarks (B, N, 2), of each of some shapes."""
    pixels = view.normalise(torch.cat([grey_between(view, pictures, landmarks) for landmarks in shapes]))
    view.mean, view.deviation = pixels.mean(0), pixels.std(0).clamp(min=LEAST_DEVIATION)


def grey_between(view: ViewValidator, pictures: Pictures, landmarks: Tensor) -> Tensor:
    """What the runtime sees between landmarks (B, N, 2) in the pictures of B faces; shape (B, P)."""
    return view.warp(pictures, landmarks, landmarks.new_zeros(len(landmarks), 2), EXACT)


def in_sharpnesses(grey: Tensor, levels: int) -> list[Pictures]:
    """Pictures (F, S, S), uint8, in so many sharpnesses, one face in each."""
    face = torch.arange(len(grey), device=grey.device)
    return [Pictures(size, face) for size in halved(grey, levels)]
