"""The bundle: one `.pt` of plain values and tensors, read without a copy in memory and built into a model."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from clnf_torch.models.archive import Progress, save_archive
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.patch_experts.ccnf import CCNFExperts
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.svr import SVRExperts

FORMAT, VERSION = "clnf_torch bundle", 1
# Where the bundle is that is installed with the package
WEIGHTS = "clnf_torch.weights", "default.pt"
FAMILIES: dict[str, type[Experts]] = {
    family.name: family for family in (CENExperts, CCNFExperts, SVRExperts, HeatmapExperts)
}
"""The patch experts that bundles may hold, by name; a new family is registered here."""
# Names of families in bundles of version 0.1 of the package
OLD_NAMES = {"joint": HeatmapExperts.name}


class BundleError(ValueError):
    """A file is no weights bundle, or not one that this version can read."""


def default_bundle() -> Path:
    """The file of the bundle that is installed with the package."""
    package, name = WEIGHTS
    return Path(str(resources.files(package).joinpath(name)))


def save_bundle(
    path: str | Path,
    model: LandmarkModel | Mapping[str, Any],
    *,
    writer: str,
    licence: str,
    numerics: str,
    sources: Sequence[Mapping[str, Any]],
    skipped: Sequence[Mapping[str, Any]] = (),
    validator: Mapping[str, Any] | None = None,
    face_detector: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes a bundle; the file has its name only once it is complete. ``converters/README.md`` describes its fields.

    Args:
        path: Where to.
        model: A model, or the record of one.
        writer: The program, and its version.
        licence: The terms of its use.
        numerics: ``"openface"`` or ``"exact"``.
        sources: What it was made from: records with a ``name``.
        skipped: What of that is not in it: records with ``entry`` and ``reason``.
        validator: The record of a validator.
        face_detector: The record of a face detector.
        progress: Called with the bytes written so far and the bytes in all.
    """
    bundle = {
        "format": FORMAT,
        "version": VERSION,
        "writer": writer,
        "licence": licence,
        "numerics": numerics,
        "sources": [dict(source) for source in sources],
        "skipped": [dict(line) for line in skipped],
        "model": model.to_record() if isinstance(model, LandmarkModel) else dict(model),
        "validator": validator,
        "face_detector": face_detector,
    }
    save_archive(bundle, path, progress)


def load_bundle(path: str | Path) -> dict[str, Any]:
    """The contents of a bundle; its tensors stay in the file until they are used.

    Args:
        path: A `.pt` written by ``clnf-torch convert`` or ``train``.

    Returns:
        Its fields: format, version, sources, licence, numerics, model and more; `converters/README.md` describes them.

    Raises:
        BundleError: There is no such file, it is not a bundle, or it is of another version.
    """
    path = Path(path)
    if not path.is_file():
        raise BundleError(f"{path}: there is no such file; make one with: clnf-torch convert MODEL_DIR -o {path.name}")
    try:
        bundle = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        # torch.load names a dozen exceptions, depending on what the file turns out to be
        raise BundleError(
            f"{path}: expected a .pt bundle from clnf-torch convert or train, found another or a damaged file"
        ) from error
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        raise BundleError(
            f"{path}: expected a bundle from clnf-torch convert or train, found a .pt file with other contents"
        )
    if bundle.get("version") != VERSION:
        raise BundleError(
            f"{path}: is a bundle of version {bundle.get('version')}, this program reads version {VERSION}; "
            "convert or train the model again"
        )
    _rename_families(bundle)
    return bundle


def _rename_families(value: Any) -> None:
    """Gives the experts in a bundle, and in its parts, the names that their families have today; in place."""
    if isinstance(value, dict):
        family = value.get("family")
        if isinstance(family, str):
            value["family"] = OLD_NAMES.get(family, family)
        value = list(value.values())
    for inner in value if isinstance(value, (list, tuple)) else ():
        _rename_families(inner)


def build_model(bundle: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> LandmarkModel:
    """The model in a bundle.

    Args:
        bundle: From `load_bundle`.
        dtype: Number type of the shape model and of all arithmetic. Expert weights keep the type they are stored in and
            are widened where they are used.

    Raises:
        BundleError: A field is missing or does not fit the others.
    """
    try:
        return LandmarkModel.from_record(bundle["model"], dtype, FAMILIES)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"the bundle's fields do not make a model ({error!r}); convert or train the model again"
        ) from error
