"""Brings images of any depth to eight bits."""

import numpy as np

from clnf_torch.media.other_formats import DecodeError

# Bits that cameras and microscopes count in, whatever the file holds them in
DEPTHS = (8, 10, 12, 14, 16)
# Floating point images up to here are in 0 to 1, with highlights above; as one in 0 to 255 this would be black
BRIGHTEST_HIGHLIGHT = 16


def to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """An image of eight bits that looks like one of any depth.

    Integers are taken as numbers of 8, 10, 12, 14 or 16 bits: as few of these as hold the brightest one, of which the
    upper eight are kept. So are floating point numbers above 16; those below are in 0 to 1, and what is brighter is
    white. Negative numbers are black, as is NaN; an infinite one is as bright as the brightest.

    Args:
        pixels: Of any shape, uint8, uint16, int16, float32 or float64.

    Returns:
        Likewise, uint8.

    Raises:
        DecodeError: The numbers have another type, or are larger than sixteen bits hold.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype not in (np.uint16, np.int16, np.float32, np.float64):
        raise DecodeError(f"numbers of type {pixels.dtype} are not read; save it with 8 or 16 bits")
    brightest = float(np.max(pixels, initial=0, where=np.isfinite(pixels)))
    if pixels.dtype.kind == "f":
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=brightest, neginf=0.0)
        if brightest <= BRIGHTEST_HIGHLIGHT:
            return (pixels.clip(0, 1) * 255).round().astype(np.uint8)
    # A signed number of 16 bits has 15 for its size
    depths = (*DEPTHS[:-1], 15) if pixels.dtype == np.int16 else DEPTHS
    bits = next((bits for bits in depths if brightest < 1 << bits), None)
    if bits is None:
        raise DecodeError(f"numbers up to {brightest:g} are not read; expected 0 to 1, 0 to 255 or 0 to 65535")
    return (pixels.clip(0, None).astype(np.uint16) >> (bits - 8)).astype(np.uint8)
