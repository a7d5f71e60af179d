"""Damage that any file can take: bits, numbers, lengths, blocks; the same for the same random numbers."""

from __future__ import annotations

import random
import struct

# Numbers at which readers go wrong: signs, sizes, powers of two, and what is no number
INTEGERS = (0, 1, -1, 2, 3, 68, 127, 128, 255, 256, 65535, 65536, 2**24, 2**30, 2**31 - 1, -(2**31))
LARGE = (2**32 - 1, 2**32, 2**63 - 1, -(2**63), 2**40)
FLOATS = (0.0, -0.0, 1e-320, 1e30, 1e300, float("inf"), float("-inf"), float("nan"))
WORDS = (
    b"-1",
    b"0",
    b"nan",
    b"inf",
    b"1e999",
    b"99999999999",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b";",
    b",",
    b"\xff",
    b"../..",
)
# Changes to one file, and bytes of one change
MOST_CHANGES, LONGEST = 4, 200


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """A file with one to four changes; early bytes, where headers are, and the last ones are changed more often."""
    for _ in range(rng.randint(1, MOST_CHANGES)):
        content = rng.choice(CHANGES)(content, rng)
    return content


def place(content: bytes, rng: random.Random) -> int:
    """Somewhere in a file: anywhere, in its first twentieth, or among its last bytes."""
    whole = max(len(content), 1)
    reach = rng.choice((whole, max(whole // 20, 1), min(whole, 4 * LONGEST)))
    offset = rng.randrange(reach)
    return whole - 1 - offset if rng.random() < 0.2 else offset


def number(rng: random.Random) -> bytes:
    """A number that readers go wrong at, in either byte order."""
    order = rng.choice("<>")
    kind = rng.randrange(4)
    if kind == 0:
        return struct.pack(order + "i", rng.choice(INTEGERS))
    if kind == 1:
        return struct.pack(order + "Q", rng.choice(INTEGERS + LARGE) % 2**64)
    if kind == 2:
        return struct.pack(order + rng.choice("fd"), rng.choice(FLOATS[:4] + FLOATS[5:]))
    return rng.choice((rng.randbytes(rng.randint(1, 12)), rng.choice(WORDS)))


def flip(content: bytes, rng: random.Random) -> bytes:
    """One bit is another."""
    at = place(content, rng)
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :] if content else content


def overwrite(content: bytes, rng: random.Random) -> bytes:
    """A number stands where another was."""
    at, new = place(content, rng), number(rng)
    return content[:at] + new + content[at + len(new) :]


def insert(content: bytes, rng: random.Random) -> bytes:
    """What follows is moved back."""
    at = place(content, rng)
    return content[:at] + number(rng) + content[at:]


def delete(content: bytes, rng: random.Random) -> bytes:
    """Some bytes are missing."""
    at = place(content, rng)
    return content[:at] + content[at + rng.randint(1, LONGEST) :]


def truncate(content: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return content[: place(content, rng)]


def repeat(content: bytes, rng: random.Random) -> bytes:
    """A block stands there twice."""
    at = place(content, rng)
    return content[: at + rng.randint(1, LONGEST)] + content[at:]


def erase(content: bytes, rng: random.Random) -> bytes:
    """A block is zeros, as after a download that went on in the wrong place."""
    at, count = place(content, rng), rng.randint(1, max(1, len(content) // 4))
    return content[:at] + bytes(len(content[at : at + count])) + content[at + count :]


CHANGES = (flip, flip, overwrite, overwrite, insert, delete, truncate, repeat, erase)
