"""Groups of annotated faces by what may make them hard to fit: turned heads, small faces, how light the skin looks."""

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
# Degrees of the individual typology angle: dark and brown, tanned and intermediate, light and very light
SKINS = (-float("inf"), 10.0, 41.0, float("inf"))


@torch.no_grad()
def face_groups(pdm: PDM, landmarks: Tensor, skin: Tensor | None = None) -> dict[str, Tensor]:
    """Which faces belong to which group; each belongs to one of yaw, to one of size, and to one of skin if it is known.

    Args:
        pdm: The shape model that heads are turned by.
        landmarks: Annotated landmarks, pixels, shape (F, 68, 2).
        skin: From `skin_angles`, shape (F,).

    Returns:
        bool, shape (F,), by the group's name; groups without faces are left out.
    """
    given = landmarks.to(pdm.mean)
    yaw = params_from_landmarks(pdm, given).rotation[:, 1].abs().rad2deg()
    left, right = (given[:, corner] for corner in OUTER_EYE_CORNERS)
    size = torch.linalg.vector_norm(left - right, dim=-1)
    groups = {**_ranges("yaw", yaw, YAWS, "degrees"), **_ranges("eye distance", size, SIZES, "px")}
    if skin is not None:
        groups |= _ranges("skin angle", skin, SKINS, "degrees")
    return {name: rows.cpu() for name, rows in groups.items() if bool(rows.any())}


def _ranges(what: str, values: Tensor, bounds: tuple[float, ...], unit: str) -> dict[str, Tensor]:
    """Where values (F,) lie between two bounds, by the range in words."""
    found = {}
    for least, most in pairwise(bounds):
        words = f"{least:g} to {most:g}"
        if float("inf") in (-least, most):
            words = f"below {most:g}" if most != float("inf") else f"from {least:g}"
        found[f"{what} {words} {unit}"] = (values >= least) & (values < most)
    return found
