"""The weights file: one `.pt` of plain values and tensors, read without a copy in memory and built into a model."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from clnf_torch.models.landmark_model import EarlyTermination, LandmarkModel, Part
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.patch_experts.ccnf import CCNFExperts
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts, UNet
from clnf_torch.models.patch_experts.mlp_stack import MLPStack
from clnf_torch.models.patch_experts.svr import SVRExperts
from clnf_torch.models.pdm import PDM

FORMAT, VERSION = "clnf_torch bundle", 1
# Where the bundle is that is installed with the package
WEIGHTS = "clnf_torch.weights", "default.pt"


class BundleError(ValueError):
    """A file is no weights bundle, or not one that this version can read."""


def default_bundle() -> Path:
    """The file of the bundle that is installed with the package."""
    package, name = WEIGHTS
    return Path(str(resources.files(package).joinpath(name)))


def bundle_of(
    model: Mapping[str, Any],
    *,
    writer: str,
    licence: str,
    numerics: str,
    sources: Sequence[Mapping[str, Any]],
    skipped: Sequence[Mapping[str, Any]] = (),
    validator: Mapping[str, Any] | None = None,
    face_detector: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The fields of a bundle, to be written by `save_archive`; `converters/README.md` describes them.

    Args:
        model: The record of a model.
        writer: The program, and its version.
        licence: The terms of its use.
        numerics: ``"openface"`` or ``"exact"``.
        sources: What it was made from: records with a ``name``.
        skipped: What of that is not in it: records with ``entry`` and ``reason``.
        validator: The record of a validator.
        face_detector: The record of a face detector.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "writer": writer,
        "licence": licence,
        "numerics": numerics,
        "sources": [dict(source) for source in sources],
        "skipped": [dict(line) for line in skipped],
        "model": dict(model),
        "validator": validator,
        "face_detector": face_detector,
    }


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
    return bundle


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
        return _build_landmark_model(bundle["model"], dtype)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"the bundle's fields do not make a model ({error!r}); convert or train the model again"
        ) from error


def _build_landmark_model(model: Mapping[str, Any], dtype: torch.dtype) -> LandmarkModel:
    """A shape with its patch experts, and its parts likewise."""
    pdm = PDM(*(model["pdm"][name].to(dtype) for name in ("mean", "modes", "variances")))
    experts: list[Experts] = []
    for record in model["experts"]:
        # The experts of an earlier scale are asked once more
        again = record["family"] == "repeat"
        experts.append(experts[record["of"]] if again else _build_experts(record, dtype))
    rules = model["early_termination"]
    early = EarlyTermination(*(rules[k].to(dtype) for k in ("weights", "biases", "cutoffs"))) if rules else None
    parts = [_build_part(record, dtype) for record in model.get("parts", ())]
    return LandmarkModel(pdm, experts, model["experts"][0]["family"], early, model["triangulations"], parts)


def _build_part(record: Mapping[str, Any], dtype: torch.dtype) -> Part:
    """A part of a landmark model."""
    return Part(record["name"], _build_landmark_model(record["model"], dtype), record["in_parent"], record["in_part"])


def _build_experts(record: Mapping[str, Any], dtype: torch.dtype) -> Experts:
    """The patch experts of one scale."""
    family = record["family"]
    if family not in _FAMILIES:
        known = ", ".join(map(repr, _FAMILIES))
        raise BundleError(f"the bundle holds {family!r} patch experts, this program knows {known}; use a newer version")
    common = {
        "scale": float(record["scale"]),
        "view_centers": record["view_centers"].to(dtype),
        "visible": record["visible"],
        "confidence": record["confidence"].to(dtype),
    }
    return _FAMILIES[family](common, record, dtype)


def _build_cen(common: dict[str, Any], record: Mapping[str, Any], dtype: torch.dtype) -> Experts:
    """CEN experts."""
    stacks = [MLPStack(stack["weights"], stack["biases"], stack["activations"]) for stack in record["stacks"]]
    support = int(record["support"])
    return CENExperts(**common, support=support, expert=record["expert"], flipped=record["flipped"], stacks=stacks)


def _build_ccnf(common: dict[str, Any], record: Mapping[str, Any], dtype: torch.dtype) -> Experts:
    """CCNF experts."""
    numbers = {name: record[name].to(dtype) for name in ("biases", "alphas", "betas")}
    kept = {"weights": record["weights"], "components": record["components"]}
    return CCNFExperts(**common, support=int(record["support"]), **numbers, **kept)


def _build_svr(common: dict[str, Any], record: Mapping[str, Any], dtype: torch.dtype) -> Experts:
    """SVR experts."""
    numbers = {name: record[name].to(dtype) for name in ("scalings", "biases")}
    kept = {"weights": record["weights"], "modalities": record["modalities"]}
    return SVRExperts(**common, support=int(record["support"]), **numbers, **kept)


def _build_heatmap(common: dict[str, Any], record: Mapping[str, Any], dtype: torch.dtype) -> Experts:
    """Heatmap experts."""
    network = UNet(common["visible"].shape[1], record["widths"], normalised=False)
    network.load_state_dict({name: tensor.to(dtype) for name, tensor in record["network"].items()})
    return HeatmapExperts(**common, width=int(record["width"]), network=network.to(dtype).channels_last())


_FAMILIES = {"cen": _build_cen, "ccnf": _build_ccnf, "svr": _build_svr, "joint": _build_heatmap}
