"""Images of every format: read as `detect` reads them, and some of them searched for faces that are then fitted."""

from __future__ import annotations

import functools
import os
import random
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import torch

import clnf_torch
from clnf_torch.media.image_headers import PNG_START, png_chunks
from clnf_torch.media.images import MAX_PIXELS_NAME, ImageError, read_image
from tests.fuzz.formats import Format
from tests.fuzz.mutations import mutate_bytes
from tests.media.image_files import cmyk_jpeg, encoded, png_chunk, several_images, tiff, with_orientation

# So that what is decoded stays below the memory that a file of some kilobytes may take
PIXELS = 2_000_000
# One file of so many is also searched for faces
SEARCHED = 20


def prepare(folder: Path) -> list[Path]:
    """Images of 60 x 44 pixels in every format that is written here."""
    rng = np.random.default_rng(0)
    gray = cv2.GaussianBlur(rng.integers(0, 256, (44, 60), np.uint8), (9, 9), 2)
    colours = np.dstack([gray, 255 - gray, gray // 2])
    for kind in ("png", "jpg", "webp", "bmp", "tiff"):
        assert cv2.imwrite(str(folder / f"colours.{kind}"), colours)
        assert cv2.imwrite(str(folder / f"gray.{kind}"), gray)
    assert cv2.imwrite(str(folder / "progressive.jpg"), colours, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert cv2.imwrite(str(folder / "lossless.webp"), colours, [cv2.IMWRITE_WEBP_QUALITY, 101])
    assert cv2.imwrite(str(folder / "deep.png"), gray.astype(np.uint16) * 16)
    assert cv2.imwrite(str(folder / "float.tiff"), gray.astype(np.float32) / 255)
    (folder / "negative.tiff").write_bytes(tiff(gray.astype(np.uint16), photometric=0))
    (folder / "clear.tiff").write_bytes(tiff(np.dstack([colours, gray]), photometric=2, tags=((338, 3, 2),)))
    (folder / "print.jpg").write_bytes(cmyk_jpeg([gray] * 4))
    for kind in ("jpg", "png", "webp"):
        turned = with_orientation((folder / f"colours.{kind}").read_bytes(), 6)
        (folder / f"turned.{kind}").write_bytes(turned)
    for kind in ("gif", "png", "webp", "tiff"):
        several_images(folder / f"several.{kind}", [colours, 255 - colours])
    for kind in ("gif", "tga", "j2k", "ppm", "pgm", "pbm", "pam", "pfm", "hdr", "exr"):
        (folder / f"other.{kind}").write_bytes(encoded(gray, kind))
    return sorted(folder.iterdir())


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Damages bytes; in a third of the PNG files under right checksums, or whole chunks."""
    damaged = mutate_bytes(content, rng)
    if not content.startswith(PNG_START) or rng.random() < 0.66:
        return damaged
    chunks = [[kind, content[start:end]] for kind, start, end in png_chunks(content)]
    for _ in range(rng.randint(1, 3)):
        chunk = rng.choice(chunks)
        change = rng.randrange(4)
        if change == 0:
            chunk[1] = mutate_bytes(chunk[1], rng)
        elif change == 1:
            chunks.insert(rng.randrange(len(chunks) + 1), list(chunk))
        elif change == 2 and len(chunks) > 1:
            chunks.remove(chunk)
        else:
            chunk[0] = rng.choice([b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"IDAT", b"gAMA"])
    return PNG_START + b"".join(png_chunk(kind, data) for kind, data in chunks)


def use(path: Path) -> None:
    """Reads an image; of some of them the faces are searched for, and one is fitted."""
    os.environ[MAX_PIXELS_NAME] = str(PIXELS)
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(path, notes.append)
    assert image.dtype == torch.uint8 and image.shape[0] == 3, f"an image {image.dtype} of shape {tuple(image.shape)}"
    assert 0 < image.shape[1] * image.shape[2] <= PIXELS, f"{image.shape[1]} x {image.shape[2]} pixels"
    assert all(len(note) <= 300 and note.isprintable() for note in notes), notes
    if zlib.crc32(path.read_bytes()) % SEARCHED == 0 and image[0].numel() < 100_000:
        detector, finder = _installed()
        with torch.inference_mode():
            found = finder.detect(image[None])
            box = torch.tensor([[0.0, 0.0, image.shape[2], image.shape[1]]])
            result = detector.fit(
                image[None], torch.cat((found.boxes[:2], box)), torch.zeros(min(len(found.boxes), 2) + 1).long()
            )
        assert found.boxes.isfinite().all(), "a box that is not finite"
        assert result.landmarks[result.success].isfinite().all(), "success with landmarks that are not finite"


@functools.cache
def _installed() -> tuple[clnf_torch.LandmarkDetector, clnf_torch.FaceDetector]:
    """What is installed with the package."""
    return clnf_torch.load(), clnf_torch.load_face_detector()


FORMATS = (Format(name="images", prepare=prepare, use=use, refusals=(ImageError,), mutate=mutate),)
