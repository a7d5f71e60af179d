"""The tags of TIFF directories, which EXIF has too: how large an image is, and how it is turned."""

import struct

# Struct letters and sizes of the number types that say a size, a count or a choice: BYTE, SHORT, LONG, LONG8
NUMBERS = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4), 16: ("Q", 8)}
# Entries of a directory that are read; real ones have some dozens
MOST_ENTRIES = 4096
ORIENTATION = 274

Tags = dict[int, int]
"""The first number of each tag."""


def read_directories(content: bytes, most: int) -> list[Tags]:
    """The directories of a TIFF file (or BigTIFF), one per page.

    Args:
        content: The file, or the block of EXIF in another one.
        most: Pages that are read.

    Returns:
        Their tags that are whole numbers; fewer pages where the file ends before them or is no TIFF file.
    """
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    pages: list[Tags] = []
    try:
        if order is None:
            return pages
        big = struct.unpack_from(f"{order}H", content, 2)[0] == 43
        (place,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, 8 if big else 4)
        while place and len(pages) < most:
            tags, place = _directory(content, place, order, big)
            pages.append(tags)
    except (struct.error, OverflowError):
        pass
    return pages


def exif_orientation(content: bytes) -> int:
    """The orientation, 1 to 8, that a block of EXIF says; 1 where it says none or nonsense."""
    pages = read_directories(content, most=1)
    value = pages[0].get(ORIENTATION, 1) if pages else 1
    return value if 1 <= value <= 8 else 1


def _directory(content: bytes, place: int, order: str, big: bool) -> tuple[Tags, int]:
    """The tags of a directory, and where the next one is, 0 after the last."""
    head, entry, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    (count,) = struct.unpack_from(order + head, content, place)
    place += struct.calcsize(order + head)
    tags: Tags = {}
    for _ in range(min(count, MOST_ENTRIES)):
        tag, kind, values = struct.unpack_from(order + entry, content, place)
        place += struct.calcsize(order + entry)
        letter, size = NUMBERS.get(kind, ("", 0))
        if letter and values:
            tags.setdefault(tag, _number(content, place, order, letter, inline if size * values > inline else 0))
        place += inline
    # The block of EXIF in a photograph may end here
    following = content[place : place + inline]
    return tags, int.from_bytes(following, "little" if order == "<" else "big")


def _number(content: bytes, place: int, order: str, letter: str, pointer: int) -> int:
    """The first number of an entry: in it, or where its pointer of so many bytes shows."""
    if pointer:
        (place,) = struct.unpack_from(f"{order}{'Q' if pointer == 8 else 'I'}", content, place)
    number: int = struct.unpack_from(order + letter, content, place)[0]
    return number
