"""What the first bytes of an image file say: its format, its size, how it is turned, whether it is whole."""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clnf_torch.media.tiff_tags import exif_orientation, read_directories

PNG_START, JPEG_END = b"\x89PNG\r\n\x1a\n", b"\xff\xd9"
# JPEG markers that have no length, and those of a frame header, which says how large the image is
BARE_MARKERS = {0x01, *range(0xD0, 0xD9)}
FRAME_HEADERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# PNG's chunks of an animation
ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
# ISO files by their brand, after "ftyp"
AVIF_BRANDS, HEIC_BRANDS = (b"avif", b"avis"), (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
# Values of TIFF tags
WHITE_IS_ZERO, TRANSPARENT, SMALL_COPY = 0, 2, 1


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """What a file says about its image before a pixel is decoded."""

    format: str
    width: int = 0  # pixels as they are stored; 0 where only the decoder knows
    height: int = 0
    orientation: int = 1  # of EXIF, 1 to 8; 1 where the decoder turns the image itself
    several: bool = False  # frames or pages
    whole: bool = True  # as far as can be seen without decoding
    inverted: bool = False  # 0 is white, and the decoder leaves it so
    transparent: bool = False  # a decoder may multiply colours with their opacity


def read_header(content: bytes, suffix: str = "") -> ImageHeader | None:
    """Reads the header of an image.

    Args:
        content: The file, from its first byte.
        suffix: Of its name, ``.tga``: such files do not begin with a signature.

    Returns:
        What it says; None where it is none of the formats that are known, or ends within the header.
    """
    try:
        for start, reader in _READERS:
            if re.match(start, content, re.DOTALL):
                return reader(content)
        return _tga(content) if suffix.lower() == ".tga" else None
    except (struct.error, IndexError, ValueError):
        return None


def png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a PNG that are whole: type, first byte and end of the data."""
    place = len(PNG_START)
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if place + 12 + length > len(content):
            return
        yield kind, place + 8, place + 8 + length
        place += 12 + length


def riff_chunks(content: bytes, start: int = 12) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a RIFF file (WebP) that are whole: type, first byte and end of the data."""
    while start + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, start)
        if start + 8 + length > len(content):
            return
        yield kind, start + 8, start + 8 + length
        start += 8 + length + length % 2


def first_image(content: bytes, header: ImageHeader) -> bytes:
    """An animation's first image as a file of its own; other files as they are.

    Decoders differ in what they take for the first image of an animated PNG, and older ones read no animated WebP.
    """
    if not header.several or header.format not in ("PNG", "WebP"):
        return content
    if header.format == "PNG":
        still = [(start - 8, end + 4) for kind, start, end in png_chunks(content) if kind not in ANIMATION]
        return PNG_START + b"".join(content[start:end] for start, end in still)
    frame = next((start, end) for kind, start, end in riff_chunks(content) if kind == b"ANMF")
    # Behind place, size and duration of the frame; transparency is a chunk of its own
    parts = riff_chunks(content[: frame[1]], frame[0] + 16)
    pixels = b"".join(content[start - 8 : end + end % 2] for kind, start, end in parts if kind in (b"VP8 ", b"VP8L"))
    return b"RIFF" + struct.pack("<I", len(pixels) + 4) + b"WEBP" + pixels


def _png(content: bytes) -> ImageHeader:
    width, height = struct.unpack_from(">II", content, 16)
    orientation, several, whole = 1, False, False
    for kind, start, end in png_chunks(content):
        if kind == b"eXIf":
            orientation = exif_orientation(content[start:end])
        elif kind == b"acTL" and end - start >= 4:
            several = struct.unpack_from(">I", content, start)[0] > 1
        whole = whole or kind == b"IEND"
    return ImageHeader(format="PNG", width=width, height=height, orientation=orientation, several=several, whole=whole)


def _jpeg(content: bytes) -> ImageHeader:
    place, orientation, size = 2, 1, (0, 0)
    while True:
        # Any number of 0xFF may stand before a marker
        place = content.index(b"\xff", place)
        while content[place] == 0xFF:
            place += 1
        marker, place = content[place], place + 1
        if marker in BARE_MARKERS:
            continue
        (length,) = struct.unpack_from(">H", content, place)
        if marker == 0xE1 and content[place + 2 : place + 8] == b"Exif\0\0":
            orientation = exif_orientation(content[place + 8 : place + length])
        elif marker in FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", content, place + 3)
            size = width, height
        elif marker == 0xDA:
            break
        place += length
    whole = content.rfind(JPEG_END) > place
    return ImageHeader(format="JPEG", width=size[0], height=size[1], orientation=orientation, whole=whole)


def _webp(content: bytes) -> ImageHeader:
    chunks = {kind: (start, end) for kind, start, end in reversed(list(riff_chunks(content)))}
    width, height, several = 0, 0, False
    if b"VP8X" in chunks:
        flags, sides = content[chunks[b"VP8X"][0]], content[chunks[b"VP8X"][0] + 4 :]
        width, height = (1 + int.from_bytes(sides[place : place + 3], "little") for place in (0, 3))
        several = bool(flags & 2)
    elif b"VP8L" in chunks:
        (packed,) = struct.unpack_from("<I", content, chunks[b"VP8L"][0] + 1)
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif b"VP8 " in chunks:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, chunks[b"VP8 "][0] + 6))
    exif = content[slice(*chunks.get(b"EXIF", (0, 0)))]
    return ImageHeader(
        format="WebP",
        width=width,
        height=height,
        orientation=exif_orientation(exif.removeprefix(b"Exif\0\0")),
        several=several and sum(kind == b"ANMF" for kind, _, _ in riff_chunks(content)) > 1,
        whole=struct.unpack_from("<I", content, 4)[0] + 8 <= len(content),
    )


def _tiff(content: bytes) -> ImageHeader:
    pages = read_directories(content, most=2)
    first = pages[0] if pages else {}
    bits = first.get(258, 1)
    return ImageHeader(
        format="TIFF",
        width=first.get(256, 0),
        height=first.get(257, 0),
        several=len(pages) > 1 and not pages[1].get(254, 0) & SMALL_COPY,
        inverted=first.get(262) == WHITE_IS_ZERO and bits > 8,
        transparent=first.get(338) == TRANSPARENT and bits == 8,
    )


def _bmp(content: bytes) -> ImageHeader:
    (size,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", content, 18)
    return ImageHeader(format="BMP", width=abs(width), height=abs(height))


def _gif(content: bytes) -> ImageHeader:
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    place, images = 13 + _colours(flags), 0
    # Extensions and images, each with blocks of up to 255 bytes; 0x3B ends the file
    while images < 2 and content[place : place + 1] in (b"\x21", b"\x2c"):
        if content[place] == 0x21:
            place += 2
        else:
            images, place = images + 1, place + 11 + _colours(content[place + 9])
        while content[place]:
            place += 1 + content[place]
        place += 1
    return ImageHeader(format="GIF", width=width, height=height, several=images > 1)


def _colours(flags: int) -> int:
    """Bytes of a palette of GIF."""
    return 3 * 2 ** (1 + flags % 8) if flags & 0x80 else 0


def _jp2(content: bytes) -> ImageHeader:
    place = content.find(b"ihdr", 0, 4096)
    height, width = struct.unpack_from(">II", content, place + 4) if place >= 0 else (0, 0)
    return ImageHeader(format="JPEG 2000", width=width, height=height)


def _codestream(content: bytes) -> ImageHeader:
    right, bottom, left, top = struct.unpack_from(">IIII", content, 8)
    return ImageHeader(format="JPEG 2000", width=max(0, right - left), height=max(0, bottom - top))


def _pnm(content: bytes) -> ImageHeader:
    words = re.sub(rb"#[^\n]*", b"", content[:4096]).split(maxsplit=3)
    sides = [int(word) if word.isdigit() and len(word) < 10 else 0 for word in words[1:3]]
    return ImageHeader(format="PNM", width=sides[0], height=sides[1])


def _tga(content: bytes) -> ImageHeader:
    width, height = struct.unpack_from("<HH", content, 12)
    return ImageHeader(format="TGA", width=width, height=height)


def _named(name: str) -> Callable[[bytes], ImageHeader]:
    """Reads nothing but the format: what decodes it knows the rest."""
    return lambda _: ImageHeader(format=name)


_READERS: tuple[tuple[bytes, Callable[[bytes], ImageHeader]], ...] = (
    (re.escape(PNG_START), _png),
    (rb"\xff\xd8\xff", _jpeg),
    (rb"RIFF....WEBP", _webp),
    (rb"II[*+]\0|MM\0[*+]", _tiff),
    (rb"BM.{12}[\x0c-\x7c]\0\0\0", _bmp),
    (rb"GIF8[79]a", _gif),
    (rb"\0\0\0\x0cjP  \r\n\x87\n", _jp2),
    (rb"\xff\x4f\xff\x51", _codestream),
    (rb"P[1-6]\s", _pnm),
    (rb"P7\s|P[Ff]\s", _named("PNM")),
    (rb"\x76\x2f\x31\x01", _named("EXR")),
    (rb"#\?RADIANCE|#\?RGBE", _named("HDR")),
    (rb"\x59\xa6\x6a\x95", _named("Sun raster")),
    (rb"....ftyp(?:" + b"|".join(AVIF_BRANDS) + rb")", _named("AVIF")),
    (rb"....ftyp(?:" + b"|".join(HEIC_BRANDS) + rb")", _named("HEIC")),
)
"""Signatures, as regular expressions, and what reads such a file."""
