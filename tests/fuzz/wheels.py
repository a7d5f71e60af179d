"""Wheels of the package mtcnn: the zip is damaged, or what is inside it; what is accepted looks at an image."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import torch

from clnf_torch.converters import ConversionError
from clnf_torch.converters.mtcnn_package import face_detector_record
from clnf_torch.converters.mtcnn_package.architectures import ARCHITECTURES
from clnf_torch.detection.mtcnn import MTCNN
from tests.converters.mtcnn_package_files import framed, pickled, random_arrays
from tests.fuzz.formats import Format
from tests.fuzz.mutations import mutate_bytes

FRAME = 255 * torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(2))
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
INSIDE = "mtcnn/assets/weights/{}.lz4"


def prepare(folder: Path) -> list[Path]:
    """A wheel with random weights."""
    files = {INSIDE.format(name): framed(pickled(random_arrays(name))) for name in ARCHITECTURES}
    (folder / "mtcnn.whl").write_bytes(zipped(files, zipfile.ZIP_DEFLATED))
    return [folder / "mtcnn.whl"]


def zipped(files: dict[str, bytes], method: int) -> bytes:
    """A zip of files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method, compresslevel=1) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def use(path: Path) -> None:
    """Reads the networks, and looks for faces."""
    detector = MTCNN.from_record(face_detector_record(path))
    with torch.inference_mode():
        found = detector.detect(FRAME)
    assert found.boxes.isfinite().all() and found.score.isfinite().all(), "a box that is not finite"


def mutate(content: bytes, rng: random.Random) -> bytes:
    """A third of the damage goes to the zip; the rest to a network in it, under right checksums, or to its block."""
    if rng.random() < 0.34:
        return mutate_bytes(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = INSIDE.format(rng.choice(list(ARCHITECTURES)))
    files[name] = rng.choice((mutate_bytes, repacked, with_match))(files[name], rng)
    if rng.random() < 0.1:
        files[rng.choice(("mtcnn/" + "deep/" * 50, "../x", name.upper()))] = files.pop(name)
    return zipped(files, rng.choice(METHODS) if rng.random() < 0.2 else zipfile.ZIP_STORED)


def repacked(frame: bytes, rng: random.Random) -> bytes:
    """The pickle inside a frame is damaged, most often in its first array's description."""
    start = 11
    return framed(mutate_bytes(frame[start : start + 4000], rng) + frame[start + 4000 :], 1 << 22)


def with_match(frame: bytes, rng: random.Random) -> bytes:
    """A block that repeats a byte more often than anybody wants."""
    match = b"\x1fa\x01\x00" + b"\xff" * rng.choice((10, 10**4, 4 * 10**5)) + b"\x00"
    return frame[:7] + len(match).to_bytes(4, "little") + match + frame[7:]


FORMATS = (Format(name="wheel", prepare=prepare, use=use, refusals=(ConversionError,), mutate=mutate, share=2),)
