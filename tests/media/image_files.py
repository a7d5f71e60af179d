"""Image files as other programs write them, byte by byte where no library here does."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

# How each EXIF orientation stores an upright image (H, W)
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.T,
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].T,
    8: lambda upright: np.rot90(upright, -1),
}
CODECS = {"j2k": "jpeg2000", "tga": "targa"}
FORMATS = {"gif": "bgr8", "tga": "bgr24", "j2k": "rgb24", "pbm": "monow", "pgm": "gray"}
FLOATING = {"exr", "hdr", "pfm"}


def tiff(pixels: np.ndarray, photometric: int = 1, tags: tuple[tuple[int, int, int], ...] = ()) -> bytes:
    """A TIFF file of one strip, uint8 or uint16, (H, W) or (H, W, C), with more tags (number, type, value)."""
    height, width, channels = *pixels.shape[:2], 1 if pixels.ndim == 2 else pixels.shape[2]
    bits, content = 8 * pixels.itemsize, pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: channels, 278: height}
    rows = [(tag, 3, 1, value) for tag, value in entries.items()]
    rows += [(273, 4, 1, 8), (279, 4, 1, len(content)), *((tag, kind, 1, value) for tag, kind, value in tags)]
    if channels > 1:
        rows = [row for row in rows if row[0] != 258] + [(258, 3, channels, 8 + len(content))]
        content += struct.pack(f"<{channels}H", *[bits] * channels)
        rows = [row if row[0] != 279 else (279, 4, 1, pixels.nbytes) for row in rows]
    directory = struct.pack("<H", len(rows)) + b"".join(struct.pack("<HHII", *row) for row in sorted(rows))
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + directory + bytes(4)


def with_orientation(content: bytes, orientation: int) -> bytes:
    """A JPEG, PNG or WebP file with an EXIF block of one entry: tag 0x0112."""
    exif = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01" + struct.pack(">HH", orientation, 0) + bytes(4)
    if content[:2] == b"\xff\xd8":
        block = b"Exif\0\0" + exif
        return content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:]
    if content[:4] == b"\x89PNG":
        return content[:33] + png_chunk(b"eXIf", exif) + content[33:]
    height, width = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED).shape[:2]
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    chunks = b"VP8X" + struct.pack("<II", 10, 8) + sides + content[12:] + b"EXIF" + struct.pack("<I", len(exif)) + exif
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_zeros(side: int) -> bytes:
    """A square PNG of one bit per pixel, all of them 0."""
    packer, rows = zlib.compressobj(9), bytes(1 + (side + 7) // 8)
    packed = b"".join(packer.compress(rows) for _ in range(side)) + packer.flush()
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def encoded(gray: np.ndarray, kind: str) -> bytes:
    """A gray image as FFmpeg writes it in a format."""
    codec = CODECS.get(kind, kind)
    layout = "gbrpf32le" if kind in FLOATING else FORMATS.get(kind, "rgb24")
    context = av.CodecContext.create(codec, "w")
    context.height, context.width = gray.shape
    context.pix_fmt, context.time_base = layout, Fraction(1)
    frame = av.VideoFrame.from_ndarray(np.dstack([gray] * 3), format="rgb24").reformat(format=layout)
    frame.pts = 0
    content = b"".join(bytes(packet) for some in (frame, None) for packet in context.encode(some))
    return content + b";" if kind == "gif" else content


def several_images(path: Path, images: list[np.ndarray]) -> None:
    """An animation of images (H, W, 3), or the pages of a TIFF file."""
    if path.suffix == ".tiff":
        assert cv2.imwritemulti(str(path), images)
    elif path.suffix == ".gif":
        # The palette of the first image, and the images of all
        parts = [encoded(image[..., 0], "gif") for image in images]
        palettes = 13 + 3 * 256
        path.write_bytes(parts[0][:-1] + b"".join(part[palettes:-1] for part in parts[1:]) + b";")
    elif path.suffix == ".webp":
        path.write_bytes(_animated_webp(images))
    else:
        path.write_bytes(_animated_png(images))


def _animated_png(images: list[np.ndarray]) -> bytes:
    """An animated PNG whose frames are its first image and others."""
    height, width = images[0].shape[:2]
    stills = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    packed = [still[still.index(b"IDAT") + 4 : still.index(b"IEND") - 8] for still in stills]
    control = [struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 25, 0, 0) for number in (0, 1)]
    chunks = png_chunk(b"acTL", struct.pack(">II", 2, 0)) + png_chunk(b"fcTL", control[0])
    chunks += png_chunk(b"IDAT", packed[0]) + png_chunk(b"fcTL", control[1])
    return stills[0][:33] + chunks + png_chunk(b"fdAT", struct.pack(">I", 2) + packed[1]) + png_chunk(b"IEND", b"")


def _animated_webp(images: list[np.ndarray]) -> bytes:
    """An animated WebP, its frames without loss."""
    height, width = images[0].shape[:2]
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    chunks = b"VP8X" + struct.pack("<II", 10, 2) + sides + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    for image in images:
        pixels = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()[12:]
        data = bytes(6) + sides + b"\x28\0\0\0" + pixels
        chunks += b"ANMF" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def cmyk_jpeg(channels: list[np.ndarray]) -> bytes:
    """A JPEG of four channels (H, W), each in a scan of its own, stored inverted as Photoshop does."""
    grays = [cv2.imencode(".jpg", 255 - channel)[1].tobytes() for channel in channels]
    parts = dict(_jpeg_segments(grays[0]))
    height, width = channels[0].shape
    frame = struct.pack(">BHHB", 8, height, width, 4) + b"".join(bytes([number, 0x11, 0]) for number in range(1, 5))
    adobe = _segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0))
    content = b"\xff\xd8" + adobe + _segment(0xDB, parts[0xDB]) + _segment(0xC0, frame)
    content += b"".join(_segment(0xC4, data) for marker, data in _jpeg_segments(grays[0]) if marker == 0xC4)
    for number, gray in enumerate(grays, start=1):
        scan = gray.index(b"\xff\xda")
        content += _segment(0xDA, bytes([1, number, 0, 0, 63, 0])) + gray[scan + 10 : -2]
    return content + b"\xff\xd9"


def _segment(marker: int, data: bytes) -> bytes:
    """A segment of JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def _jpeg_segments(content: bytes) -> list[tuple[int, bytes]]:
    """Markers and data of the segments before the scan."""
    place, segments = 2, []
    while content[place + 1] != 0xDA:
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        segments.append((content[place + 1], content[place + 4 : place + 2 + length]))
        place += 2 + length
    return segments
