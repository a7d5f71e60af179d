"""How light the skin of annotated faces looks in their images: the individual typology angle (ITA) of the cheeks."""

from collections.abc import Iterable

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import OUTER_EYE_CORNERS
from clnf_torch.geometry.rotation import angle_of

# A cheek lies between these landmarks of the jaw and the nose, as high as the middle of the nose's ridge
CHEEKS = ((2, 31), (14, 35))
RIDGE_MIDDLE = 29
# Side of the patches that are looked at, distances of the outer eye corners
PATCH = 0.12
# Mean difference of the colours of an image that has some
LEAST_COLOUR = 1.0
# Linear sRGB to XYZ by the white of D65, whose Y and Z alone the angle needs
TO_YZ = ((0.2126, 0.7152, 0.0722), (0.0193 / 1.0888, 0.1192 / 1.0888, 0.9503 / 1.0888))


def skin_angles(images: Iterable[Tensor], landmarks: Tensor) -> Tensor:
    """The individual typology angle of faces: the larger, the lighter. Light and camera enter it as skin does.

    Args:
        images: F of them, RGB, 0 to 255, each of shape (3, H, W).
        landmarks: Annotated, pixels, shape (F, 68, 2).

    Returns:
        Degrees, shape (F,); NaN where the image is gray, or both cheeks lie outside it.

    Source:
        Chardon, Cretois and Hourseau, "Skin colour typology and suntanning pathways", 1991.
    """
    angles = [typology_angle(cheek_colour(image, face)) for image, face in zip(images, landmarks, strict=True)]
    return torch.stack(angles) if angles else torch.zeros(0)


def cheek_colour(image: Tensor, face: Tensor) -> Tensor:
    """The median colour (3,) of both cheeks of a face (68, 2) in an image (3, H, W); NaN where there is none."""
    left, right = (face[corner] for corner in OUTER_EYE_CORNERS)
    half = max(1, round(PATCH / 2 * float((right - left).norm())))
    patches = []
    for jaw, nose in CHEEKS:
        x, y = (0.5 * (face[jaw] + face[nose]))[0].round().long(), face[RIDGE_MIDDLE, 1].round().long()
        rows, columns = (slice(max(0, int(at) - half), max(0, int(at) + half + 1)) for at in (y, x))
        patches.append(image[:, rows, columns].flatten(1).float())
    pixels = torch.cat(patches, 1)
    coloured = pixels.numel() and float((pixels.amax(0) - pixels.amin(0)).mean()) >= LEAST_COLOUR
    return pixels.median(1).values if coloured else pixels.new_full((3,), torch.nan)


def typology_angle(colour: Tensor) -> Tensor:
    """The angle of colours (..., 3), 0 to 255 sRGB, degrees: of L* - 50 over b* in CIELAB."""
    linear = torch.where(colour <= 0.04045 * 255, colour / 255 / 12.92, ((colour / 255 + 0.055) / 1.055).pow(2.4))
    seen = linear @ linear.new_tensor(TO_YZ).mT
    root = torch.where(seen > (6 / 29) ** 3, seen.clamp_min(1e-6).pow(1 / 3), seen * (29 / 6) ** 2 / 3 + 4 / 29)
    lightness, blue = 116 * root[..., 0] - 16, 200 * (root[..., 0] - root[..., 1])
    return angle_of(lightness - 50, blue.clamp_min(1e-3)).rad2deg()
