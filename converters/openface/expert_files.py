"""The patch expert files of a model: which family of them is used, and all of them as records of the bundle."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from clnf_torch.converters.openface.ccnf import convert_ccnf, read_ccnf
from clnf_torch.converters.openface.cen import read_cen
from clnf_torch.converters.openface.cen_stacks import convert_cen
from clnf_torch.converters.openface.description import Module
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.sources import PUBLISHED_CEN
from clnf_torch.converters.openface.svr import convert_svr, read_svr

Records = list[dict[str, Any]]

# As in cen_patches_0.25_of.dat and ccnf_patches_1_wild.txt; a name may be rounded by this share
SCALE_IN_NAME, SCALE_ROUNDING = re.compile(r"_patches_([0-9]+(?:\.[0-9]+)?)(?=_|\.)"), 0.05


class ExpertFile(Protocol):
    """What a patch expert file holds, of whatever family."""

    @property
    def num_views(self) -> int:
        """Number of views V."""
        ...

    @property
    def scale(self) -> float:
        """Pixels per millimetre."""
        ...


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of patch experts.

    Attributes:
        keyword: What names its files in a description.
        title: Its name.
        read: Reads a file, given the number of landmarks.
        convert: Makes records of the bundle of what files hold, given whether to store float16.
        published: The hashes of OpenFace's own files, or None where none are known.
    """

    keyword: str
    title: str
    read: Callable[[Path, int], ExpertFile]
    convert: Callable[[Any, bool], Records]
    published: frozenset[str] | None = None


# By keyword; where a model has several families, OpenFace uses the first of these
FAMILIES = {
    family.keyword: family
    for family in (
        Family(keyword="PatchesCEN", title="CEN", read=read_cen, convert=convert_cen, published=PUBLISHED_CEN),
        Family(keyword="PatchesCCNF", title="CCNF", read=read_ccnf, convert=convert_ccnf),
        Family(keyword="PatchesIntensity", title="SVR", read=read_svr, convert=convert_svr),
    )
}


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
    contents = [files.family.read(path, points) for path in files.paths]
    _require_scales(files.paths, [content.scale for content in contents])
    _require_same_views(files.paths, [content.num_views for content in contents])
    return files.family.convert(contents, half)


def _require_scales(paths: Sequence[Path], scales: list[float]) -> None:
    """Files are named by their scales, and listed from coarse to fine; two that changed places do neither."""
    for number, (path, scale) in enumerate(zip(paths, scales, strict=True)):
        named = SCALE_IN_NAME.search(path.name)
        if named and abs(float(named[1]) - scale) > SCALE_ROUNDING * scale:
            expected, found = f"experts of scale {named[1]}, as its name says", f"those of scale {scale:g}"
            raise ConversionError(path, expected=expected, found=found, remedy="did two files change places?")
        if number and scale < scales[number - 1]:
            expected, found = f"scales from coarse to fine, after {scales[number - 1]:g}", f"{scale:g}"
            raise ConversionError(path, expected=expected, found=found, remedy="list the files in another order")


def _require_same_views(paths: Sequence[Path], counts: list[int]) -> None:
    """All scales share mirror tables and the numbers of early termination, so they have the same number of views."""
    for path, count in zip(paths, counts, strict=True):
        if count != counts[0]:
            expected = f"{counts[0]} views, as {paths[0].name} has"
            raise ConversionError(path, expected=expected, found=str(count), remedy="use files of one model")
