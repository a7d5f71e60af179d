"""Preparing uint8 images as compiled loops (numba), for the processor: to the same last bit as the torch forms."""
