"""Groups of annotated faces by what makes them hard to fit: how far the head is turned, and how small it is."""

from itertools import pairwise

import torch
from torch import Tensor

from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.geometry.landmarks68 import OUTER_EYE_CORNERS
from clnf_torch.models.pdm import PDM

# Degrees, to either side
YAWS = (0.0, 15.0, 30.0, 45.0, float("inf"))
# Pixels between the outer eye corners
SIZES = (0.0, 30.0, 60.0, 120.0, float("inf"))


@torch.no_grad()
def face_groups(pdm: PDM, landmarks: Tensor) -> dict[str, Tensor]:
    """Which faces belong to which group; each belongs to one of yaw and to one of size.

    Args:
        pdm: The shape model that heads are turned by.
        landmarks: Annotated landmarks, pixels, shape (F, 68, 2).

    Returns:
        bool, shape (F,), by the group's name; groups without faces are left out.
    """
    given = landmarks.to(pdm.mean)
    yaw = params_from_landmarks(pdm, given).rotation[:, 1].abs().rad2deg()
    left, right = (given[:, corner] for corner in OUTER_EYE_CORNERS)
    size = torch.linalg.vector_norm(left - right, dim=-1)
    groups = {**_ranges("yaw", yaw, YAWS, "degrees"), **_ranges("eye distance", size, SIZES, "px")}
    return {name: rows.cpu() for name, rows in groups.items() if bool(rows.any())}


def _ranges(what: str, values: Tensor, bounds: tuple[float, ...], unit: str) -> dict[str, Tensor]:
    """Where values (F,) lie between two bounds, by the range in words."""
    found = {}
    for least, most in pairwise(bounds):
        words = f"{least:g} to {most:g}" if most != float("inf") else f"from {least:g}"
        found[f"{what} {words} {unit}"] = (values >= least) & (values < most)
    return found
