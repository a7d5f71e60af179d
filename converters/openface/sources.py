"""Which files a bundle was made from: size, SHA-256, and whether OpenFace published exactly these bytes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from clnf_torch.files.names import printable

PUBLISHED_CEN = frozenset(
    {
        # cen_patches_0.25_of.dat
        "99d3df9888115428075de7b8f1bc86176881de640c2fdf47e2ab0cee556661bf",
        # cen_patches_0.35_of.dat
        "1070bff51b077ee6a18ce8e1ebbc6f568e1a7a469f6911a8263413878b3df469",
        # cen_patches_0.50_of.dat
        "3f08124067e326e83e3261a55c79493e745b01138c9c1b59713dd9b17424168e",
        # cen_patches_1.00_of.dat
        "bed961bbfa2cc41a709d44c1d1d8a92b2537bc46f2fd6ab430c137fedd0e21b0",
    }
)
"""SHA-256 of the CEN files that OpenFace 2.2 downloads."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file that went into a bundle.

    Attributes:
        name: Its path from the model directory.
        bytes: Its size.
        sha256: Its hash, hexadecimal.
        published: Whether OpenFace published these bytes; None where no hash is known for its kind.
    """

    name: str
    bytes: int
    sha256: str
    published: bool | None


def describe_source(path: Path, folder: Path, known: frozenset[str] | None = None) -> SourceFile:
    """Hashes a file.

    Args:
        path: The file.
        folder: The model directory.
        known: The published hashes of its kind, or None.

    Returns:
        Its record.
    """
    digest = hashlib.sha256()
    size, buffer = 0, bytearray(1 << 20)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
            size += count
    sha256 = digest.hexdigest()
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
    return SourceFile(
        name=printable(name), bytes=size, sha256=sha256, published=None if known is None else sha256 in known
    )
