"""Images of Pillow's, which need not be installed: as tensors, upright, as deep as they are."""

from typing import Any

import torch
from torch import Tensor

# The EXIF tag of the orientation
ORIENTATION = 0x0112
# Modes that are gray levels of a byte; all others of a byte become RGB
GRAY = ("1", "L", "LA")
# Modes of deeper gray levels by their first letter: Pillow cuts them off at 255 where it converts them to bytes
DEEP = {"I": torch.int32, "F": torch.float32}


def is_pillow_image(image: Any) -> bool:
    """Whether this has the interface of Pillow's images."""
    return hasattr(image, "getbands")


def pillow_pixels(image: Any) -> Tensor:
    """An image of Pillow's, turned and mirrored as its EXIF orientation asks for, as images that are read from files.

    Args:
        image: Of any mode; palettes and other colour spaces become RGB, transparency is dropped.

    Returns:
        Gray (1, H, W) or RGB (3, H, W), uint8; of modes I and I;16 int32 and of mode F float32, numbers as they are.

    Raises:
        ValueError: Pillow cannot convert its mode.
    """
    dtype = DEEP.get(image.mode[:1], torch.uint8)
    other = "L" if image.mode in GRAY else "RGB"
    plain = image.convert(other if dtype == torch.uint8 else image.mode[:1])
    rows = (
        torch.frombuffer(bytearray(plain.tobytes()), dtype=dtype)
        if plain.width * plain.height
        else torch.zeros(0, device="cpu", dtype=torch.float32)
    )
    pixels = rows.to(dtype).view(plain.height, plain.width, len(plain.getbands())).permute(2, 0, 1)
    # Only now: some files say it behind their pixels
    exif = image.getexif() if hasattr(image, "getexif") else {}
    return upright(pixels, exif.get(ORIENTATION, 1))


def upright(pixels: Tensor, orientation: Any) -> Tensor:
    """Pixels (C, H, W) turned and mirrored as an EXIF orientation asks for; as they are by anything that is none.

    Source:
        EXIF 2.3, tag 0x0112: 2 to 4 mirror and turn by half; 5 to 8 exchange rows and columns first.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.mT
    if orientation in (2, 3, 6, 7):
        pixels = pixels.flip(-1)
    return pixels.flip(-2) if orientation in (3, 4, 7, 8) else pixels
