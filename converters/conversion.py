"""Converts an OpenFace model directory into one bundle."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import clnf_torch
from clnf_torch.converters.locate import find_source
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.landmark_model import convert_landmark_model
from clnf_torch.converters.openface.model_files import ModelFiles, Skipped, read_model_files
from clnf_torch.converters.openface.mtcnn import convert_mtcnn, find_mtcnn, mtcnn_files
from clnf_torch.converters.openface.sources import SourceFile, describe_source
from clnf_torch.converters.openface.validator import convert_validator
from clnf_torch.files.archive import Progress
from clnf_torch.models.bundle import FAMILIES, save_bundle
from clnf_torch.models.bundle_schema import check_bundle
from clnf_torch.models.schema import Context

LICENCE = (
    "Converted from model files of OpenFace 2.2, (c) Carnegie Mellon University and University of Cambridge. "
    "Their licence allows academic and other non-commercial research alone and forbids passing the files on, converted "
    "or not: keep this file to yourself, and cite OpenFace where you publish results. Commercial use needs a licence "
    "from Carnegie Mellon University. Files that are not OpenFace's own keep the licence under which you received them."
)


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    """What a conversion did.

    Attributes:
        main: The description file that was converted.
        others: Further ``main_*.txt`` of the directory that were not chosen.
        out: The bundle.
        bytes: The bundle's size.
        scales: The patch scaling of each patch expert file, coarse to fine.
        half: Whether expert weights are float16.
        sources: The files that went in.
        skipped: The lines of the descriptions that were not converted, and why.
        face_detector: The description of the face detector that lies beside the model, or None.
    """

    main: Path
    others: tuple[Path, ...]
    out: Path
    bytes: int
    scales: tuple[float, ...]
    half: bool
    sources: tuple[SourceFile, ...]
    skipped: tuple[Skipped, ...]
    face_detector: Path | None


def convert(
    source: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    half: bool = False,
    progress: Progress | None = None,
) -> ConversionReport:
    """Converts an OpenFace model into a bundle; nothing is left behind when it fails or is interrupted.

    Args:
        source: A model directory, a ``main_*.txt``, or None for the cache of other tools; see ``find_source``.
        out: The bundle to write, replaced if it exists.
        half: Whether to store expert weights as float16.
        progress: Called with the bytes written so far and the bytes in all.

    Returns:
        What was converted, what was skipped and why.

    Raises:
        ConversionError: A source file is not what it should be, or the bundle cannot be written.
    """
    found, out = find_source(source), Path(out)
    folder = found.main.parent
    try:
        files, detector = read_model_files(found.main), find_mtcnn(folder)
        detector_files = mtcnn_files(detector) if detector else ()
        _require_output(out, (*detector_files, *files.paths))
        model = convert_landmark_model(files, half)
        validator = convert_validator(files.validator, len(model["pdm"]["mean"])) if files.validator else None
        face_detector = convert_mtcnn(detector) if detector else None
        sources = _describe(files, detector_files, folder)
        records = {"model": model, "validator": validator, "face_detector": face_detector}
        check_bundle(records, Context({}), FAMILIES)
        save_bundle(
            out,
            model,
            writer=f"clnf_torch {clnf_torch.__version__}",
            licence=LICENCE,
            numerics="openface",
            sources=[dataclasses.asdict(source) for source in sources],
            skipped=[dataclasses.asdict(line) for line in files.skipped],
            validator=validator,
            face_detector=face_detector,
            progress=progress,
        )
    except ValueError as error:
        remedy = "the file of these numbers is damaged, or of another kind of model; download it again"
        raise ConversionError(
            found.main, expected="numbers of a face model", found=str(error), remedy=remedy
        ) from error
    except OSError as error:
        where = Path(error.filename) if error.filename else out
        remedy = "check the disk's space and the permissions"
        raise ConversionError(
            where, expected="to read and write files", found=error.strerror or str(error), remedy=remedy
        ) from error
    return ConversionReport(
        main=found.main,
        others=found.others,
        out=out,
        bytes=out.stat().st_size,
        scales=tuple(record["scale"] for record in model["experts"]),
        half=half,
        sources=sources,
        skipped=files.skipped,
        face_detector=detector,
    )


def _require_output(out: Path, sources: tuple[Path, ...]) -> None:
    """Refuses an output that is a folder, lies in no folder, or is one of the sources."""
    if out.is_dir() or not out.parent.is_dir():
        found = "a folder" if out.is_dir() else f"no folder {out.parent}"
        raise ConversionError(
            out, expected="a file name for the bundle", found=found, remedy="name a file such as model.pt"
        )
    if out.exists() and any(path.exists() and out.samefile(path) for path in sources):
        raise ConversionError(
            out, expected="a new file", found="one of the files to convert", remedy="choose another name"
        )


def _describe(files: ModelFiles, detector_files: tuple[Path, ...], folder: Path) -> tuple[SourceFile, ...]:
    """Size and hash of every file that goes in."""
    models = list(files.models())
    others = [path for model in models for path in model.others]
    hashes = dict.fromkeys((*others, *detector_files)) | {
        path: model.experts.family.published for model in models for path in model.experts.paths
    }
    return tuple(describe_source(path, folder, known) for path, known in hashes.items())
