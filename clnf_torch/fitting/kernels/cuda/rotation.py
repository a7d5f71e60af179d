"""Rotations of one head: Euler angles, the nine numbers of a matrix row by row, and small turns."""

import math

import triton
import triton.language as tl

HALF_TURN: tl.constexpr = tl.constexpr(math.pi)
# Above it the arctangent is taken of (t - 1) / (t + 1)
TANGENT_OF_22_DEGREES: tl.constexpr = tl.constexpr(math.tan(math.pi / 8))


@triton.jit
def to_matrix(x, y, z):
    """`euler_to_matrix`."""
    sx, sy, sz = tl.sin(x), tl.sin(y), tl.sin(z)
    cx, cy, cz = tl.cos(x), tl.cos(y), tl.cos(z)
    first = cy * cz, -cy * sz, sy
    second = cx * sz + cz * sx * sy, cx * cz - sx * sy * sz, -cy * sx
    return first + second + (sx * sz - cz * cx * sy, cz * sx + cx * sy * sz, cx * cy)


@triton.jit
def to_euler(rotation):
    """`PosedShape.params` of a matrix: all three angles 0 where one is not a number."""
    q0 = tl.sqrt_rn(1.0 + rotation[0] + rotation[4] + rotation[8]) * 0.5
    q1 = tl.div_rn(rotation[7] - rotation[5], 4 * q0)
    q2 = tl.div_rn(rotation[2] - rotation[6], 4 * q0)
    q3 = tl.div_rn(rotation[3] - rotation[1], 4 * q0)
    q00, q11, q22, q33 = q0 * q0, q1 * q1, q2 * q2, q3 * q3
    sine = 2 * (q0 * q2 + q1 * q3)
    sine = tl.where(sine > 1, 1.0, tl.where(sine < -1, -1.0, sine))
    x = angle(2 * (q0 * q1 - q2 * q3), q00 - q11 - q22 + q33)
    y = angle(sine, tl.sqrt_rn((1 - sine) * (1 + sine)))
    z = angle(2 * (q0 * q3 - q1 * q2), q00 + q11 - q22 - q33)
    known = (x == x) & (y == y) & (z == z)
    return tl.where(known, x, 0.0), tl.where(known, y, 0.0), tl.where(known, z, 0.0)


@triton.jit
def angle(y, x):
    """``torch.atan2`` to 2e-7: the library's, which a card has, is missing from Triton's interpreter."""
    steep = tl.abs(y) > tl.abs(x)
    larger = tl.where(steep, tl.abs(y), tl.abs(x))
    tangent = tl.div_rn(tl.where(steep, tl.abs(x), tl.abs(y)), tl.where(larger == 0, 1.0, larger))
    wide = tangent > TANGENT_OF_22_DEGREES
    t = tl.where(wide, tl.div_rn(tangent - 1, tangent + 1), tangent)
    square = t * t
    series = ((8.05374449538e-2 * square - 1.38776856032e-1) * square + 1.99777106478e-1) * square - 3.33329491539e-1
    value = series * square * t + t + tl.where(wide, HALF_TURN / 4, 0.0)
    value = tl.where(steep, HALF_TURN / 2 - value, value)
    value = tl.where(x < 0, HALF_TURN - value, value)
    return tl.where(y < 0, -value, value)


@triton.jit
def turn(u, v, w, x, y, z):
    """One row of `rotation.turn` of a matrix row (u, v, w) by a small turn (x, y, z)."""
    cosine = tl.div_rn(1.0, tl.sqrt_rn(1 + x * x + y * y + z * z))
    twice = tl.div_rn(cosine, 1 + cosine)
    cu, cv, cw = (v * z - w * y) * cosine, (w * x - u * z) * cosine, (u * y - v * x) * cosine
    return u + cu + (cv * z - cw * y) * twice, v + cv + (cw * x - cu * z) * twice, w + cw + (cu * y - cv * x) * twice
