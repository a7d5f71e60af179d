"""The bundle: one `.pt` of plain values and tensors, read without a copy in memory and built into a model."""

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from clnf_torch.files.archive import Progress, save_archive
from clnf_torch.files.archive_reader import ArchiveError, read_archive
from clnf_torch.files.names import lookalike, one_line
from clnf_torch.files.reading import InputError, require_regular_file
from clnf_torch.models.bundle_schema import check_bundle
from clnf_torch.models.landmark_model import OLD_NAMES, LandmarkModel
from clnf_torch.models.model_schema import check_model
from clnf_torch.models.patch_experts.base import Experts
from clnf_torch.models.patch_experts.ccnf import CCNFExperts
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.mesh import MeshExperts
from clnf_torch.models.patch_experts.svr import SVRExperts
from clnf_torch.models.schema import Context, found
from clnf_torch.models.verified import is_known, remember, stamp_of

FORMAT, VERSION = "clnf_torch bundle", 1
# Where the weights are that are installed with the package
WEIGHTS = "clnf_torch.weights"
# Models among them, by the names that stand for their files
INSTALLED_MODELS = {"default": "default.pt", "free": "free.pt", "small": "small.pt"}
FAMILIES: dict[str, type[Experts]] = {
    family.name: family for family in (CENExperts, CCNFExperts, SVRExperts, HeatmapExperts, MeshExperts)
}
"""The patch experts that bundles may hold, by name; other packages register theirs, see `models.plugins`."""

# What bundles hold that have no landmark model, by its field
OTHERS = {"pen_mark_eraser": "an eraser of pen marks", "face_detector": "a face detector alone"}
# Bytes that all tensors may have together, some of which share their numbers: sizes of the file, and a little more
SHARING, ROOM = 2, 1 << 20


class BundleError(InputError, ValueError):
    """A file is no weights bundle, or not one that this version can read; its message is one short line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class _Read(dict[str, Any]):
    """The contents of a file, whose numbers were looked at when it was read.

    Args:
        contents: By field.
        path: The file.
    """

    def __init__(self, contents: Mapping[str, Any], path: Path) -> None:
        super().__init__(contents)
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """Its copies are dictionaries that any reader knows, ``torch.load`` and ours; nobody has looked at them."""
        return OrderedDict, (), None, None, iter(self.items())


def default_bundle() -> Path:
    """The file of the default model, which is installed with the package."""
    return bundle_file(None)


def bundle_file(place: str | os.PathLike[str] | None) -> Path:
    """The file of a model.

    Args:
        place: A bundle; or, unless there is such a file, the name of a model that is installed with the package. None:
            the default model.
    """
    name = "default" if place is None else os.fspath(place)
    if name in INSTALLED_MODELS and (place is None or not Path(name).exists()):
        return installed_file(INSTALLED_MODELS[name])
    return Path(name)


def installed_file(name: str) -> Path:
    """A file of weights that is installed with the package."""
    return Path(str(resources.files(WEIGHTS).joinpath(name)))


def save_bundle(
    path: str | Path,
    model: LandmarkModel | Mapping[str, Any] | None,
    *,
    writer: str,
    licence: str,
    numerics: str,
    sources: Sequence[Mapping[str, Any]],
    skipped: Sequence[Mapping[str, Any]] = (),
    validator: Mapping[str, Any] | None = None,
    face_detector: Mapping[str, Any] | None = None,
    pen_mark_eraser: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes a bundle; the file has its name only once it is complete. ``converters/README.md`` describes its fields.

    Args:
        path: Where to.
        model: A model, or the record of one; None: the bundle holds none.
        writer: The program, and its version.
        licence: The terms of its use.
        numerics: ``"openface"`` or ``"exact"``.
        sources: What it was made from: records with a ``name``.
        skipped: What of that is not in it: records with ``entry`` and ``reason``.
        validator: The record of a validator.
        face_detector: The record of a face detector.
        pen_mark_eraser: The record of the network of an eraser of pen marks.
        progress: Called with the bytes written so far and the bytes in all.

    Raises:
        ValueError: A tensor has numbers that `load_bundle` refuses: some are not finite.
    """
    bundle = {
        "format": FORMAT,
        "version": VERSION,
        "writer": writer,
        "licence": licence,
        "numerics": numerics,
        "sources": [dict(source) for source in sources],
        "skipped": [dict(line) for line in skipped],
        "validator": validator,
        "face_detector": face_detector,
    }
    if model is not None:
        bundle["model"] = model.to_record() if isinstance(model, LandmarkModel) else dict(model)
    if pen_mark_eraser is not None:
        bundle["pen_mark_eraser"] = pen_mark_eraser
    save_archive(bundle, path, progress, finite=True)


def load_bundle(path: str | Path, *, mmap: bool = True, verify: bool | None = None) -> dict[str, Any]:
    """The contents of a bundle, after they were checked: checksums, types, shapes, ranges, and that numbers are finite.

    Args:
        path: A `.pt` written by ``clnf-torch convert`` or ``train``.
        mmap: Its tensors stay in the file until they are used. As long as they are, the file must not be changed in
            place: where a mapped file becomes shorter, the system ends the process (SIGBUS). False: they are copied.
        verify: Read all numbers, and compare them with their checksums. None: unless it is a large file that was
            compared before, and has not changed since.

    Returns:
        Its fields: format, version, sources, licence, numerics, model and more; `converters/README.md` describes them.

    Raises:
        BundleError: There is no such file, it is damaged, not a bundle, or of another version.
    """
    path = Path(path)
    try:
        _require_file(path)
        _refuse_openface_file(path)
        stamp = stamp_of(path)
        known = verify is None and is_known(path, stamp)
        bundle = read_archive(path, mmap=mmap, verify=verify is not False and not known, finite=True)
        _require_bundle(bundle)
        check_bundle(bundle, Context({}, verified=True, left=[SHARING * path.stat().st_size + ROOM]), FAMILIES)
    except ArchiveError as error:
        raise BundleError(f"{path}: expected a .pt bundle from clnf-torch convert or train, {error}") from error
    except OSError as error:
        raise BundleError(f"{path}: expected a bundle, found a file that cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error
    if verify is None and not known:
        remember(path, stamp)
    _rename_families(bundle.get("model"))
    return _Read(bundle, path)


def _require_file(path: Path) -> None:
    """Refuses what is no file, and says which one is meant perhaps.

    Raises:
        ValueError: It is none; the message says what to do, but not where.
    """
    try:
        require_regular_file(path)
    except FileNotFoundError as error:
        near = lookalike(path)
        remedy = (
            f"did you mean {near.relative_to(path.parent)}?"
            if near
            else f"make one with: clnf-torch convert MODEL_DIR -o {path.name}"
        )
        raise ValueError(f"there is no such file; {remedy}") from error
    except IsADirectoryError as error:
        if any(path.glob("main_*.txt")):
            remedy = f"convert it with: clnf-torch convert {path} -o {path.name or 'openface'}.pt"
            raise ValueError(f"this is an OpenFace model directory, not a bundle; {remedy}") from error
        raise ValueError("is a folder, not a bundle; give the .pt file of one") from error


def _refuse_openface_file(path: Path) -> None:
    """Refuses the text files by which OpenFace's programs name a model, and says how its folder is converted.

    Raises:
        ValueError: It is one.
    """
    if path.suffix == ".txt" and any(path.parent.glob("main_*.txt")):
        convert = f"clnf-torch convert {path.parent} -o openface.pt"
        raise ValueError(f"this is a file of an OpenFace model directory, not a bundle; convert that with: {convert}")


def _require_bundle(bundle: Any) -> None:
    """Refuses what is no bundle of this version.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(bundle, dict) or not isinstance(bundle.get("format"), str) or bundle["format"] != FORMAT:
        raise ValueError("expected a bundle from clnf-torch convert or train, found a .pt file with other contents")
    if type(bundle.get("version")) is not int or bundle["version"] != VERSION:
        version = found(bundle.get("version"))
        raise ValueError(
            f"is a bundle of version {version}, this program reads version {VERSION}; convert or train the model again"
        )


def _rename_families(model: Any) -> None:
    """Gives the experts of a model, and of its parts, the names that their families have today; in place."""
    for record in model["experts"] if model else ():
        record["family"] = OLD_NAMES.get(record["family"], record["family"])
    for part in model.get("parts", ()) if model else ():
        _rename_families(part["model"])


def build_model(bundle: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> LandmarkModel:
    """The model in a bundle. It asks for no gradients; ``model.requires_grad_()`` makes it.

    Args:
        bundle: From `load_bundle`.
        dtype: Number type of the shape model and of all arithmetic. Expert weights keep the type they are stored in and
            are widened where they are used.

    Raises:
        BundleError: A field is missing or does not fit the others.
    """
    where = str(bundle.path) if isinstance(bundle, _Read) else "the bundle"
    if "model" not in bundle:
        other = next((what for name, what in OTHERS.items() if bundle.get(name) is not None), "a bundle without one")
        raise BundleError(
            f"{where}: expected a landmark model, found {other}; give a file from clnf-torch convert or train"
        )
    try:
        # Those of a large file are not read again: they stay in it until they are used
        check_model(bundle["model"], "model", Context({}, verified=isinstance(bundle, _Read)), FAMILIES)
        return LandmarkModel.from_record(bundle["model"], dtype, FAMILIES).requires_grad_(False)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"{where}: its fields do not make a model ({error}); convert or train the model again"
        ) from error
