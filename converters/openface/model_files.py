"""Which files a landmark model consists of, and its parts: what the descriptions name, and what of that is left out."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from clnf_torch.converters.openface.description import REMEDY, Module, only, read_description
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.expert_files import FAMILIES, ExpertFiles, choose_experts
from clnf_torch.converters.openface.parts import KEYWORD as PART
from clnf_torch.converters.openface.parts import PartLine, read_part_line
from clnf_torch.files.names import lookalike

VALIDATOR = "DetectionValidator"
OF_ONE_MODEL = ("PDM", "Triangulations", "EarlyTermination", *FAMILIES)
CONVERTED = ("LandmarkDetector", PART, VALIDATOR, "PDM", "Triangulations", "EarlyTermination")
# A directory may hold the files of the whole face alone
OPTIONAL = (PART, VALIDATOR)
REASONS = {"FaceDetConversion": "OpenFace ignores it too"}
# Of parts in a model, and of parts in parts; OpenFace's models have 3 at depth 1
MAX_PARTS, MAX_DEPTH = 16, 2
ABSENT = "there is no such file; complete the model directory to have it"
UNKNOWN = "unknown keyword"


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A line of a description that was not converted, and why."""

    entry: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The files of a landmark model.

    Attributes:
        descriptions: The description files that were read.
        pdm: The point distribution model.
        experts: The patch expert files.
        triangulations: The triangulations, or None.
        early_termination: The numbers of early termination, or None.
        validator: The validator of the landmarks, or None.
        parts: The lines of the model's parts, each with the part's own files.
        skipped: What the descriptions name besides.
    """

    descriptions: tuple[Path, ...]
    pdm: Path
    experts: ExpertFiles
    triangulations: Path | None
    early_termination: Path | None
    validator: Path | None
    parts: "tuple[tuple[PartLine, ModelFiles], ...]"
    skipped: tuple[Skipped, ...]

    @property
    def others(self) -> tuple[Path, ...]:
        """The model's files but its experts' and its parts'."""
        optional = (self.triangulations, self.early_termination, self.validator)
        return (*self.descriptions, self.pdm, *(path for path in optional if path is not None))

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, the parts' too."""
        return tuple(path for model in self.models() for path in (*model.others, *model.experts.paths))

    def models(self) -> "Iterator[ModelFiles]":
        """The model and its parts, and theirs."""
        yield self
        for _, part in self.parts:
            yield from part.models()


def read_model_files(main: Path, depth: int = 0) -> ModelFiles:
    """Follows a description to the files of its landmark model and of its parts.

    Args:
        main: A ``main_*.txt``, or the landmark model's own description (``cen_general.txt``).
        depth: 1 for a part of a model, 2 for a part of a part.

    Returns:
        The files, not yet looked at.

    Raises:
        ConversionError: There is no model with a PDM and patch experts in it, or a part is not one.

    Source:
        OpenFace ``CLNF::Read`` and ``Read_CLNF``.
    """
    modules = read_description(main, "a description of a landmark detector")
    detector = only(modules, "LandmarkDetector")
    descriptions: tuple[Path, ...] = (main,)
    if detector is not None:
        inner = read_description(detector.path, "a description of a landmark model")
        descriptions, modules = (main, detector.path), (*modules, *inner)
    pdm = only(modules, "PDM")
    experts = choose_experts(modules)
    if pdm is None or experts is None:
        raise _no_model(modules, descriptions[-1], pdm)
    there = tuple(module for module in modules if module.keyword not in OPTIONAL or os.path.isfile(module.path))
    parts = _read_parts(there, depth)
    return ModelFiles(
        descriptions=descriptions,
        pdm=pdm.path,
        experts=experts,
        triangulations=_path(modules, "Triangulations"),
        early_termination=_path(modules, "EarlyTermination"),
        validator=_path(there, VALIDATOR),
        parts=parts,
        skipped=(*_skipped(modules, experts), *(line for _, part in parts for line in part.skipped)),
    )


def _path(modules: tuple[Module, ...], keyword: str) -> Path | None:
    """The file of a keyword, or None."""
    module = only(modules, keyword)
    return module.path if module else None


def _read_parts(modules: tuple[Module, ...], depth: int) -> tuple[tuple[PartLine, ModelFiles], ...]:
    """The parts among a model's lines, with their files."""
    lines = [read_part_line(module) for module in modules if module.keyword == PART]
    if (lines and depth == MAX_DEPTH) or len(lines) > MAX_PARTS:
        expected = f"at most {MAX_PARTS} parts, nested at most {MAX_DEPTH} deep"
        found = f"{len(lines)} at depth {depth + 1}; is a model its own part?"
        raise ConversionError(lines[-1].place, expected=expected, found=found, remedy="remove parts")
    for k, line in enumerate(lines):
        if line.name in [other.name for other in lines[:k]]:
            expected, remedy = f"one part {line.name}", "give each part its own name"
            raise ConversionError(line.place, expected=expected, found="another one", remedy=remedy)
    return tuple((line, _read_part(line, depth + 1)) for line in lines)


def _read_part(line: PartLine, depth: int) -> ModelFiles:
    """The files of a part; what is not converted of them carries the part's name."""
    files = read_model_files(line.path, depth)
    skipped = [replace(skip, entry=f"{line.name}: {skip.entry}") for skip in files.skipped]
    if files.validator is not None:
        reason = "OpenFace validates the whole face alone"
        skipped.append(Skipped(entry=f"{line.name}: {VALIDATOR} {files.validator.name}", reason=reason))
    if line.left_over is not None:
        reason = f"its last landmark, {line.left_over}, has no partner; it is left out"
        skipped.append(Skipped(entry=f"{PART} {line.name}", reason=reason))
    return replace(files, validator=None, skipped=tuple(skipped))


def _skipped(modules: tuple[Module, ...], experts: ExpertFiles) -> Iterator[Skipped]:
    """The lines that are not converted."""
    for module in modules:
        if module.keyword in OPTIONAL and not os.path.isfile(module.path):
            near = lookalike(module.path)
            yield Skipped(entry=module.entry, reason=ABSENT if near is None else f"{ABSENT}, but {near.name} is there")
        elif module.keyword not in (*CONVERTED, experts.family.keyword):
            yield Skipped(entry=module.entry, reason=_reason(module, experts))


def _reason(module: Module, experts: ExpertFiles) -> str:
    """Why a line is not converted."""
    if module.keyword in FAMILIES:
        kept, other = experts.family.title, FAMILIES[module.keyword].title
        return f"{kept} experts win over {other} experts where a model has both"
    return REASONS.get(module.keyword, UNKNOWN)


def _no_model(modules: tuple[Module, ...], file: Path, pdm: Module | None) -> ConversionError:
    """Why these modules make no model."""
    keywords = sorted({module.keyword for module in modules})
    found = ", ".join(keywords[:6]) or "no modules"
    if "LandmarkDetector" in keywords or any(keyword in OF_ONE_MODEL for keyword in keywords):
        missing = " or ".join(FAMILIES) if pdm else "PDM"
        return ConversionError(file, expected=f"a line {missing}", found=found, remedy="add the missing line")
    found = found if len(found) <= 60 else found[:57] + "..."
    return ConversionError(file, expected="a line LandmarkDetector", found=found, remedy=REMEDY)
