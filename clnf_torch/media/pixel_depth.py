"""Brings images of any depth to eight bits."""

import numpy as np

from clnf_torch.media.other_formats import DecodeError

# Bits that cameras and microscopes count in, whatever the file holds them in
DEPTHS = (8, 10, 12, 14, 16)
# Files of floating point numbers up to here are in 0 to 1, with highlights above; in 0 to 255 this would be black
BRIGHTEST_HIGHLIGHT = 16
# Arrays of floating point numbers below this one are in 0 to 1: bicubic resizing makes edges up to 1.5 times as bright
OVERSHOOT = 2
# Those up to here are in 0 to 255, for the same reason; beyond, they are deeper
DEEP = 1024


def to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """An image of eight bits that looks like one in memory, of any depth.

    Integers are taken as numbers of 8, 10, 12, 14 or 16 bits: as few of these as hold the brightest one, of which the
    upper eight are kept. Floating point numbers are in 0 to 1 if all are below 2, otherwise in 0 to 255, and what is
    brighter, as where resizing overshoots, is white; with one above 1024 they are taken as integers are. Negative
    numbers are black, as is NaN; an infinite one is as bright as the brightest.

    Args:
        pixels: Of any shape, uint8, int16 or wider whole numbers, float32 or float64.

    Returns:
        Likewise, uint8.

    Raises:
        DecodeError: The numbers have another type, or are larger than sixteen bits hold.
    """
    if pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 2:
        # Wide numbers are what computing left images in; those that fit are none the deeper
        fits = _brightest(pixels) < 1 << 16
        return stored_to_eight_bits(pixels.clip(0, None).astype(np.uint16 if fits else np.float64))
    if pixels.dtype.kind != "f":
        return stored_to_eight_bits(pixels)
    brightest = _brightest(pixels)
    if brightest > DEEP:
        return stored_to_eight_bits(pixels)
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=brightest, neginf=0.0)
    if brightest < OVERSHOOT:
        return _of_fractions(pixels)
    return pixels.clip(0, 255).astype(np.uint8)


def stored_to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """An image of eight bits that looks like one of a file, of any depth.

    Integers as in `to_eight_bits`. So are floating point numbers above 16; those below are in 0 to 1, and what is
    brighter is white: files of such numbers hold the light of a scene, with its highlights.

    Args:
        pixels: Of any shape, uint8, uint16, int16, float32 or float64.

    Returns:
        Likewise, uint8.

    Raises:
        DecodeError: As `to_eight_bits`.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype not in (np.uint16, np.int16, np.float32, np.float64):
        raise DecodeError(f"numbers of type {pixels.dtype} are not read; save it with 8 or 16 bits")
    brightest = _brightest(pixels)
    if pixels.dtype.kind == "f":
        pixels = np.nan_to_num(pixels, nan=0.0, posinf=brightest, neginf=0.0)
        if brightest <= BRIGHTEST_HIGHLIGHT:
            return _of_fractions(pixels)
    # A signed number of 16 bits has 15 for its size
    depths = (*DEPTHS[:-1], 15) if pixels.dtype == np.int16 else DEPTHS
    bits = next((bits for bits in depths if brightest < 1 << bits), None)
    if bits is None:
        raise DecodeError(f"numbers up to {brightest:g} are not read; expected 0 to 1, 0 to 255 or 0 to 65535")
    return (pixels.clip(0, None).astype(np.uint16) >> (bits - 8)).astype(np.uint8)


def _brightest(pixels: np.ndarray) -> float:
    """The largest finite number, at least 0."""
    return float(np.max(pixels, initial=0, where=np.isfinite(pixels)))


def _of_fractions(pixels: np.ndarray) -> np.ndarray:
    """Eight bits of numbers from 0 to 1."""
    return (pixels.clip(0, 1) * 255).round().astype(np.uint8)
