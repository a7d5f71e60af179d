"""Writes the files of OpenFace from a bundle: those it was converted from, or all that a trained model needs."""

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clnf_torch.converters.locate import PREFERRED
from clnf_torch.converters.openface.cen_export import file_name, write_cen
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.landmark_model import early_termination_text, triangulations_text
from clnf_torch.converters.openface.pdm import pdm_text
from clnf_torch.models.bundle import BundleError, load_bundle
from clnf_torch.models.files import write_atomically
from clnf_torch.models.landmark_model import REPEAT
from clnf_torch.models.patch_experts.cen import CENExperts

DETECTOR, SHAPE, TRIANGLES, EARLY = "cen_trained.txt", "pdm.txt", "tris.txt", "early_termination.txt"


def text_files(model: Mapping[str, Any], experts: Iterable[str]) -> dict[str, str]:
    """All text files that OpenFace needs beside a model's expert files, by name.

    Args:
        model: A bundle's `model`.
        experts: The names of the expert files, coarse to fine.

    Source:
        OpenFace ``CLNF::Read`` and ``Read_CLNF``.
    """
    files = {PREFERRED: f"LandmarkDetector {DETECTOR}\n", SHAPE: pdm_text(model["pdm"])}
    lines = [f"PDM {SHAPE}"]
    if len(model["triangulations"]):
        files[TRIANGLES] = triangulations_text(model["triangulations"])
        lines.append(f"Triangulations {TRIANGLES}")
    lines += [f"PatchesCEN {name}" for name in experts]
    if model["early_termination"]:
        files[EARLY] = early_termination_text(model["early_termination"])
        lines.append(f"EarlyTermination {EARLY}")
    files[DETECTOR] = "\n".join(lines) + "\n"
    return files


REMEDY = "name a bundle with CEN experts: converted from a CE-CLM model, or made by `clnf-torch train cen`"


def export(bundle_path: str | os.PathLike[str], out_dir: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Writes a bundle's CEN experts as OpenFace's ``.dat`` files, one for each scale.

    Files of a bundle that was converted without ``half`` are the source files byte for byte. A model that was trained
    here comes with all other files that OpenFace needs: shape model, descriptions, early termination, triangulations.

    Args:
        bundle_path: The bundle.
        out_dir: The folder to write to; made if it does not exist.

    Returns:
        The files.

    Raises:
        ConversionError: The file is no bundle, holds other experts, or the folder cannot be written.
    """
    bundle, out_dir = _load(Path(bundle_path)), Path(out_dir)
    try:
        return _write(bundle, Path(bundle_path), out_dir)
    except OSError as error:
        found, remedy = error.strerror or str(error), "check the disk's space and the permissions"
        raise ConversionError(out_dir, expected="a folder to write to", found=found, remedy=remedy) from error
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, struct.error) as error:
        expected, remedy = "fields that make CEN files", "convert or train the model again"
        raise ConversionError(Path(bundle_path), expected=expected, found=repr(error), remedy=remedy) from error


def _write(bundle: dict[str, Any], path: Path, out_dir: Path) -> tuple[Path, ...]:
    """Writes a file for each scale, and the others of a model that never had any."""
    experts = bundle["model"]["experts"]
    _require_cen(experts, path)
    names = [file_name(record) for record in experts]
    if len(set(names)) < len(names):
        expected, found = "CEN experts of different names", ", ".join(names)
        raise ConversionError(path, expected=expected, found=found, remedy="convert or train the model again")
    converted = all("openface" in record for record in experts)
    out_dir.mkdir(parents=True, exist_ok=True)
    for name, record in zip(names, experts, strict=True):
        with write_atomically(out_dir / name) as stream:
            write_cen(record, converted, stream)
    texts = {} if converted else text_files(bundle["model"], names)
    for name, text in texts.items():
        with write_atomically(out_dir / name) as stream:
            stream.write(text.encode())
    return tuple(out_dir / name for name in (*names, *texts))


def _require_cen(experts: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Refuses experts of other families, and none at all."""
    other = next((record["family"] for record in experts if record["family"] != CENExperts.name), None)
    if other is None and experts:
        return
    found = "none" if other is None else f"{other.upper()} experts"
    if other == REPEAT:
        found = "experts of an earlier scale again"
    raise ConversionError(path, expected="CEN experts", found=found, remedy=REMEDY)


def _load(path: Path) -> dict[str, Any]:
    """The bundle's values, its tensors still in the file."""
    try:
        return load_bundle(path)
    except BundleError as error:
        found = "a file that is none" if path.is_file() else "no such file"
        remedy = str(error).removeprefix(f"{path}: ")
        raise ConversionError(path, expected="a bundle", found=found, remedy=remedy) from error
