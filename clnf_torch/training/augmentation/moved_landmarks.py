"""Images of faces whose landmarks move: a thin-plate spline takes along what lies between them."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from clnf_torch.geometry.sampling import cells_at, pad_with_black, read_bilinear
from clnf_torch.geometry.thin_plate import ThinPlate
from clnf_torch.training.data.crops import FaceCrops

# Places along each edge of an image that stay
BORDER = 5
# Faces that are worked on together
BATCH = 32


def moved_faces(faces: FaceCrops, landmarks: Tensor, knot: int = 1) -> FaceCrops:
    """Faces whose landmarks lie elsewhere.

    Args:
        faces: F faces.
        landmarks: Where their landmarks will be, pixels, shape (F, N, 2).
        knot: As of `move_landmarks`.
    """
    gray = [faces.gray[:0]]
    for rows in torch.arange(len(faces), device=faces.gray.device).split(BATCH):
        moved = move_landmarks(faces.gray[rows], faces.landmarks[rows], landmarks[rows], knot)
        gray.append(moved.round().clamp(0, 255).to(torch.uint8))
    return FaceCrops(gray=torch.cat(gray), landmarks=landmarks)


def move_landmarks(gray: Tensor, landmarks: Tensor, moved: Tensor, knot: int = 1) -> Tensor:
    """Crops whose landmarks lie elsewhere; the image's border stays where it is.

    Args:
        gray: Crops, shape (B, S, S).
        landmarks: Where their landmarks are, pixels, shape (B, N, 2).
        moved: Where they will be, shape (B, N, 2).
        knot: Pixels between those at which the spline is evaluated; in between it is interpolated.

    Returns:
        Crops (B, S, S), floating point.
    """
    count, side = len(gray), gray.shape[-1]
    edge = torch.ones(BORDER, BORDER, dtype=torch.bool, device=gray.device)
    edge[1:-1, 1:-1] = False
    border = pixel_positions(moved, side, BORDER)[:, edge.flatten()]
    shifts = pad(landmarks - moved, (0, 0, 0, border.shape[1]))
    plate = ThinPlate.through(torch.cat((moved, border), 1), shifts)
    knots = -(-side // knot)
    shift = plate.at(pixel_positions(moved, side, knots))
    if knots < side:
        coarse = shift.mT.unflatten(-1, (knots, knots))
        shift = interpolate(coarse, (side, side), mode="bilinear", align_corners=True).flatten(2).mT
    positions = (pixel_positions(moved, side, side) + shift).clamp(0, side - 1).view(count, side, side, 2)
    index = torch.arange(count, device=gray.device)
    return read_bilinear(pad_with_black(gray), index, cells_at(positions), torch.float32)


def pixel_positions(like: Tensor, side: int, count: int) -> Tensor:
    """Positions from the first to the last pixel of crops of S pixels, row by row.

    Args:
        like: Of B rows, in whose number type the positions are.
        side: S.
        count: K along each side; S for all pixels.

    Returns:
        Pixels (x, y), shape (B, K K, 2).
    """
    axis = torch.linspace(0, side - 1, count, dtype=like.dtype if like.is_floating_point() else None)
    return torch.cartesian_prod(axis, axis).flip(-1).to(like.device).expand(len(like), -1, -1)
