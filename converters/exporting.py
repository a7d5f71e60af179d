"""Writes the files of OpenFace from a bundle: those it was converted from, or all that a trained model needs."""

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from clnf_torch.converters.locate import PREFERRED
from clnf_torch.converters.openface.cen_export import file_name, write_cen
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.landmark_model import early_termination_text, triangulations_text
from clnf_torch.converters.openface.model_files import read_model_files
from clnf_torch.converters.openface.pdm import convert_pdm, pdm_text
from clnf_torch.converters.openface.sources import describe_source
from clnf_torch.files.writing import write_atomically
from clnf_torch.models.bundle import BundleError, load_bundle
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


def export(
    bundle_path: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    source: str | os.PathLike[str] | None = None,
) -> tuple[Path, ...]:
    """Writes a bundle's CEN experts as OpenFace's ``.dat`` files, one for each scale.

    Files of a bundle that was converted without ``half`` are the source files byte for byte. A model that was trained
    here comes with the text files that OpenFace needs: shape model, descriptions, early termination, triangulations.
    OpenFace validates its fits by default, and no validator can be written: name the source, or run OpenFace's programs
    with ``-validate_detections 0``.

    Args:
        bundle_path: The bundle.
        out_dir: The folder to write to; made if it does not exist.
        source: The model directory that the bundle was converted from, tuned since or not. All its other files are
            copied, so that the folder is a complete model: validator, parts, face detector, descriptions.

    Returns:
        The files.

    Raises:
        ConversionError: The file is no bundle, holds other experts, the source has other files than it was converted
            from, or the folder cannot be written.
    """
    bundle, out_dir = _load(Path(bundle_path)), Path(out_dir)
    try:
        if source is not None:
            return _write_beside(bundle, Path(bundle_path), Path(source), out_dir)
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
    texts = {} if converted else text_files(bundle["model"], names)
    _require_elsewhere(path, [out_dir / name for name in (*names, *texts)])
    out_dir.mkdir(parents=True, exist_ok=True)
    _write_experts(experts, [out_dir / name for name in names])
    for name, text in texts.items():
        with write_atomically(out_dir / name) as stream:
            stream.write(text.encode())
    return tuple(out_dir / name for name in (*names, *texts))


def _require_elsewhere(path: Path, written: Iterable[Path]) -> None:
    """Refuses to write files of which one is the bundle itself."""
    for file in written:
        if file.exists() and file.samefile(path):
            found, remedy = f"the bundle {path}", "name another folder"
            raise ConversionError(file, expected="a free name, or an older file", found=found, remedy=remedy)


def _write_experts(experts: Sequence[dict[str, Any]], paths: Sequence[Path]) -> None:
    """Writes a file for each scale."""
    converted = all("openface" in record for record in experts)
    for path, record in zip(paths, experts, strict=True):
        with write_atomically(path) as stream:
            write_cen(record, converted, stream)


def _write_beside(bundle: dict[str, Any], path: Path, source: Path, out_dir: Path) -> tuple[Path, ...]:
    """Writes the experts to where the source has its own, and copies all else that the bundle was made from."""
    model, folder = bundle["model"], source if source.is_dir() else source.parent
    _require_cen(model["experts"], path)
    if out_dir.is_dir() and folder.is_dir() and out_dir.samefile(folder):
        found, remedy = "the source itself", "name another folder"
        raise ConversionError(out_dir, expected="a folder for the files", found=found, remedy=remedy)
    kept = [record for record in bundle["sources"] if "sha256" in record]
    for record in kept:
        _require_same(folder, record)
    files = read_model_files(folder / kept[0]["name"]) if kept else None
    if files is None or len(files.experts.paths) != len(model["experts"]):
        expected, remedy = "a bundle that was converted from this model", "export without a source"
        raise ConversionError(path, expected=expected, found="another one", remedy=remedy)
    own = {name.relative_to(folder).as_posix() for name in files.experts.paths}
    shape = files.pdm.relative_to(folder).as_posix()
    experts = [out_dir / name.relative_to(folder) for name in files.experts.paths]
    _require_elsewhere(path, [*experts, *(out_dir / record["name"] for record in kept)])
    for name in (record["name"] for record in kept if record["name"] not in own):
        (out_dir / name).parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(out_dir / name) as stream:
            same = name != shape or _same_shape(convert_pdm(files.pdm), model["pdm"])
            stream.write((folder / name).read_bytes() if same else pdm_text(model["pdm"]).encode())
    for expert in experts:
        expert.parent.mkdir(parents=True, exist_ok=True)
    _write_experts(model["experts"], experts)
    return tuple(out_dir / record["name"] for record in kept)


def _require_same(folder: Path, record: Mapping[str, Any]) -> None:
    """Refuses a source file that is not the one that the bundle was made from, and names that lead elsewhere."""
    file, remedy = folder / record["name"], "name the model directory that the bundle was converted from"
    inside = file.resolve().is_relative_to(folder.resolve())
    found = None if inside and file.is_file() else "no such file there"
    if found is None and describe_source(file, folder).sha256 != record["sha256"]:
        found = "another file"
    if found:
        raise ConversionError(file, expected="a file that the bundle was made from", found=found, remedy=remedy)


def _same_shape(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two shape models are the same but for float32 rounding, which fine-tuning brings."""
    return all(one[name].shape == other[name].shape and torch.allclose(one[name], other[name]) for name in one)


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
