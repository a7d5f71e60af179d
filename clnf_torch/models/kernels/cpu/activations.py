"""Activations of networks, as loops over a row of numbers that become vector instructions."""

from typing import Any

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled, compiled_exactly, f32


@compiled
def exponential(x: Any) -> Any:
    """exp(x) for x of -87 to 88: 2^k, made of its bits, times a polynomial of the rest."""
    x = min(max(x, f32(-87)), f32(88))
    whole = np.rint(x * f32(1.44269504))
    # ln 2 in two parts, so that the difference is exact
    rest = x - whole * f32(0.693359375) + whole * f32(2.12194440e-4)
    series = (f32(1.9875691500e-4) * rest + f32(1.3981999507e-3)) * rest + f32(8.3334519073e-3)
    series = ((series * rest + f32(4.1665795894e-2)) * rest + f32(1.6666665459e-1)) * rest + f32(5.0000001201e-1)
    power = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
    return (series * rest * rest + rest + f32(1)) * power


@compiled
def sigmoid(values: Array) -> None:
    """Replaces numbers by their sigmoids."""
    for i in range(len(values)):
        values[i] = f32(1) / (f32(1) + exponential(-values[i]))


@compiled_exactly
def rectify(values: Array) -> None:
    """Replaces negative numbers by 0."""
    for i in range(len(values)):
        values[i] = f32(0) if values[i] < 0 else values[i]
