"""A landmark model: which files it consists of, and all of them as the ``model`` of a bundle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clnf_torch.converters.openface.description import REMEDY, Module, only, read_description
from clnf_torch.converters.openface.early_termination import convert_early_termination
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.expert_files import FAMILIES, ExpertFiles, choose_experts, convert_experts
from clnf_torch.converters.openface.pdm import convert_pdm
from clnf_torch.converters.openface.triangulations import convert_triangulations

CONVERTED = ("LandmarkDetector", "PDM", "Triangulations", "EarlyTermination")
NOT_YET = "a later release converts it"
REASONS = {
    "LandmarkDetector_part": f"parts of the face: {NOT_YET}",
    "DetectionValidator": f"validation: {NOT_YET}",
    "FaceDetConversion": "OpenFace ignores it too",
}
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
        skipped: What the descriptions name besides.
    """

    descriptions: tuple[Path, ...]
    pdm: Path
    experts: ExpertFiles
    triangulations: Path | None
    early_termination: Path | None
    skipped: tuple[Skipped, ...]

    @property
    def others(self) -> tuple[Path, ...]:
        """All files but the experts'."""
        optional = (self.triangulations, self.early_termination)
        return (*self.descriptions, self.pdm, *(path for path in optional if path is not None))


def read_model_files(main: Path) -> ModelFiles:
    """Follows a description to the files of its landmark model.

    Args:
        main: A ``main_*.txt``, or the landmark model's own description (``cen_general.txt``).

    Returns:
        The files, not yet looked at.

    Raises:
        ConversionError: There is no model with a PDM and patch experts in it.

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
    triangulations, early = only(modules, "Triangulations"), only(modules, "EarlyTermination")
    return ModelFiles(
        descriptions=descriptions,
        pdm=pdm.path,
        experts=experts,
        triangulations=triangulations.path if triangulations else None,
        early_termination=early.path if early else None,
        skipped=tuple(
            Skipped(entry=module.entry, reason=_reason(module, experts))
            for module in modules
            if module.keyword not in (*CONVERTED, experts.family.keyword)
        ),
    )


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
    if any(keyword in (*CONVERTED, *FAMILIES) for keyword in keywords):
        missing = " or ".join(FAMILIES) if pdm else "PDM"
        return ConversionError(file, expected=f"a line {missing}", found=found, remedy="add the missing line")
    found = found if len(found) <= 60 else found[:57] + "..."
    return ConversionError(file, expected="a line LandmarkDetector", found=found, remedy=REMEDY)


def convert_landmark_model(files: ModelFiles, half: bool) -> dict[str, Any]:
    """Reads a landmark model; the experts' weights stay in their files until they are written.

    Args:
        files: Its files.
        half: Whether to store the experts' weights as float16.

    Returns:
        The ``model`` of a bundle.

    Raises:
        ConversionError: A file is not what it should be, or does not go with the others.
    """
    pdm = convert_pdm(files.pdm)
    points = len(pdm["mean"])
    experts = convert_experts(files.experts, points, half)
    views = len(experts[0]["view_centers"])
    early, triangulations = files.early_termination, files.triangulations
    return {
        "pdm": pdm,
        "triangulations": convert_triangulations(triangulations, points) if triangulations else [],
        "early_termination": convert_early_termination(early, views) if early else None,
        "experts": experts,
        "parts": [],
    }
