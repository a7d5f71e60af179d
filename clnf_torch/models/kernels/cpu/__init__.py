"""Patch experts as compiled loops (numba), for the processor.

Arrays are float32 and contiguous. A face's responses do not depend on the other faces.
"""
