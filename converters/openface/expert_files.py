"""The patch expert files of a model: which family of them is used, and all of them as records of the bundle."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clnf_torch.converters.openface.ccnf import convert_ccnf, read_ccnf
from clnf_torch.converters.openface.cen import read_cen
from clnf_torch.converters.openface.cen_stacks import Mirror, convert_cen
from clnf_torch.converters.openface.description import Module
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.sources import PUBLISHED_CEN
from clnf_torch.converters.openface.svr import convert_svr, read_svr

Records = list[dict[str, Any]]


def _convert_cen(paths: Sequence[Path], points: int, half: bool) -> Records:
    """CEN files as records."""
    cens = [read_cen(path, points) for path in paths]
    _require_same_views(paths, [len(cen.view_centers) for cen in cens])
    # OpenFace: the mirror tables of the last file read serve all scales
    mirror = Mirror(landmarks=cens[-1].mirror_inds, views=cens[-1].mirror_views)
    return [convert_cen(cen, mirror, half) for cen in cens]


def _convert_ccnf(paths: Sequence[Path], points: int, half: bool) -> Records:
    """CCNF files as records."""
    files = [read_ccnf(path, points) for path in paths]
    _require_same_views(paths, [len(file.views.centers) for file in files])
    return convert_ccnf(files, half)


def _convert_svr(paths: Sequence[Path], points: int, half: bool) -> Records:
    """SVR files as records."""
    files = [read_svr(path, points) for path in paths]
    _require_same_views(paths, [len(file.views.centers) for file in files])
    return convert_svr(files, half)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of patch experts.

    Attributes:
        keyword: What names its files in a description.
        title: Its name.
        convert: Makes records of the bundle, given files, the number of landmarks, and whether to store float16.
        published: The hashes of OpenFace's own files, or None where none are known.
    """

    keyword: str
    title: str
    convert: Callable[[Sequence[Path], int, bool], Records]
    published: frozenset[str] | None = None


_BEST_FIRST = (
    Family(keyword="PatchesCEN", title="CEN", convert=_convert_cen, published=PUBLISHED_CEN),
    Family(keyword="PatchesCCNF", title="CCNF", convert=_convert_ccnf),
    Family(keyword="PatchesIntensity", title="SVR", convert=_convert_svr),
)
FAMILIES = {family.keyword: family for family in _BEST_FIRST}
"""The families by keyword; where a model has several, OpenFace uses the first of these."""


@dataclass(frozen=True, kw_only=True)
class ExpertFiles:
    """The patch expert files of a model.

    Attributes:
        family: Their kind.
        paths: The files, coarse to fine.
    """

    family: Family
    paths: tuple[Path, ...]


def choose_experts(modules: Sequence[Module]) -> ExpertFiles | None:
    """The patch expert files that OpenFace would use, or None if a model names none."""
    for keyword, family in FAMILIES.items():
        if paths := tuple(module.path for module in modules if module.keyword == keyword):
            return ExpertFiles(family=family, paths=paths)
    return None


def convert_experts(files: ExpertFiles, points: int, half: bool) -> Records:
    """Reads patch expert files; CEN weights stay in their files until they are written.

    Args:
        files: The files.
        points: Number of landmarks N of the PDM.
        half: Whether to store the experts' weights as float16.

    Returns:
        A record for each scale.

    Raises:
        ConversionError: A file is not what it should be, or does not go with the others.
    """
    return files.family.convert(files.paths, points, half)


def _require_same_views(paths: Sequence[Path], counts: list[int]) -> None:
    """All scales share mirror tables and the numbers of early termination, so they have the same number of views."""
    for path, count in zip(paths, counts, strict=True):
        if count != counts[0]:
            expected = f"{counts[0]} views, as {paths[0].name} has"
            raise ConversionError(path, expected=expected, found=str(count), remedy="use files of one model")
