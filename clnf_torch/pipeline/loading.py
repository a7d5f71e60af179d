"""The landmark detector in a file: read, and written again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.detection.face_detector import FaceDetector
from clnf_torch.detection.loading import face_detector_from, load_face_detector
from clnf_torch.detection.validator import DetectionValidator
from clnf_torch.fitting.parts import check_parts
from clnf_torch.geometry.host import require_device
from clnf_torch.models.bundle import BundleError, build_model, bundle_file, load_bundle, save_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.numerics import EXACT, Numerics
from clnf_torch.models.plugins import LANDMARK_MODELS, PluginError, registered
from clnf_torch.pipeline.detector import LandmarkDetector

# Number types that pixels and angles fit into
DTYPES = (torch.float32, torch.float64)
# What a bundle says of a model that does not come from one
NO_LICENCE = "not stated"


def load(
    path: str | Path | None = None,
    device: torch.device | str = "cpu",
    *,
    dtype: torch.dtype = torch.float32,
    numerics: str | Numerics | None = None,
    precision: str | None = None,
    mmap: bool = True,
    verify: bool | None = None,
) -> LandmarkDetector:
    """The detector in a bundle. It asks for no gradients until its ``requires_grad_()`` is called.

    Args:
        path: A bundle from ``clnf-torch convert`` or ``train``, the name of a model that is installed with the package,
            or of an entry point in the group ``clnf_torch.landmark_models``; None: the default model.
        device: Where to put it.
        dtype: Number type of the arithmetic, float32 or float64.
        numerics: "openface" or "exact"; None: what the bundle was made for.
        precision: Of products in the patch experts: "float32", "tf32" (on CUDA) or "bf16"; None: as `numerics` says,
            float32 unless it is a `Numerics` of one's own.
        mmap: The weights stay in the file, which must then not be changed in place; see `load_bundle`.
        verify: Whether to compare the whole file with its checksums; None: once, if it is large; see `load_bundle`.

    Raises:
        BundleError: The file is damaged, or no bundle.
        PluginError: What is registered under the name is no landmark model.
        ValueError: There are no such numerics, no such precision, no such device, or the number type is too short.
    """
    if dtype not in DTYPES:
        raise ValueError(
            f"dtype is {dtype}, into which pixels and angles do not fit; give torch.float32 or torch.float64, and for "
            'faster products of the patch experts precision="bf16"'
        )
    device = require_device(device)
    source = bundle_file(path)
    if not Path(source).exists() and (maker := registered(LANDMARK_MODELS, str(source))) is not None:
        source = maker()
    detector = _detector(source, dtype, numerics, mmap=mmap, verify=verify)
    try:
        check_parts(detector.model)
    except ValueError as error:
        raise BundleError(f"{path or source}: {error}") from error
    if precision is not None:
        detector.precision = precision
    return detector.to(device).eval().requires_grad_(False)


def load_face_detector_for(
    detector: LandmarkDetector, path: str | Path | None, name: str | Path | None = None
) -> FaceDetector:
    """The face detector that finds faces for a landmark detector, on its device: its own bundle is not read again.

    Args:
        detector: From `load`.
        path: What was given there.
        name: Another face detector, as `load_face_detector` takes it; None: that of the landmark detector's bundle.

    Raises:
        BundleError: There is none.
    """
    record, device = detector.origin.get("face_detector"), detector.model.pdm.mean.device
    if name is None and record is not None:
        own: FaceDetector = face_detector_from(record, device)
        return own
    found: FaceDetector = load_face_detector(path if name is None else name, device)
    return found


def save(
    detector: LandmarkDetector, path: str | Path, *, face_detector: Any = None, licence: str | None = None
) -> None:
    """Writes a detector as a bundle, which `load` reads; the file has its name only once it is complete.

    What was changed since it was loaded is written as it is now, such as trained experts or another shape model in
    ``detector.model.pdm``. Numbers are written as they are computed with, and the weights of patch experts as their
    family stores them: those of heatmap experts in float16.

    Args:
        detector: The detector.
        path: Where to.
        face_detector: One that has a ``to_record()``, as `MTCNN` has; None: that of the bundle which the detector
            comes from.
        licence: The terms of its use; None: those of that bundle.

    Raises:
        ValueError: It holds numbers that are not finite, parts that bundles do not hold, or pruned or parametrized
            weights.
    """
    _require_plain_weights(detector)
    origin = detector.origin
    save_bundle(
        path,
        _on_cpu(detector.model.to_record()),
        writer="clnf_torch.save",
        licence=licence or origin.get("licence") or NO_LICENCE,
        numerics="exact" if detector.numerics.name == EXACT.name else "openface",
        sources=origin.get("sources", ()),
        skipped=origin.get("skipped", ()),
        validator=None if detector.validator is None else _on_cpu(detector.validator.to_record()),
        face_detector=origin.get("face_detector") if face_detector is None else _on_cpu(face_detector.to_record()),
    )


def _require_plain_weights(detector: LandmarkDetector) -> None:
    """Refuses weights that are computed from others, as those of `torch.nn.utils.prune` and `parametrize` are."""
    names = detector.state_dict(keep_vars=True)
    made = next((name for name in names if name.endswith("_orig") or ".parametrizations." in name), None)
    if made is not None:
        raise ValueError(
            f"expected weights that are stored as they are, found {made}, from which pruning or a parametrization "
            "computes them; call torch.nn.utils.prune.remove, or parametrize.remove_parametrizations, first"
        )


def _detector(
    source: Any, dtype: torch.dtype, numerics: str | Numerics | None, *, mmap: bool, verify: bool | None
) -> LandmarkDetector:
    """The detector in a bundle, or of what another package gives."""
    if isinstance(source, LandmarkDetector):
        return source.to(dtype=dtype)
    if isinstance(source, LandmarkModel):
        return LandmarkDetector(source.to(dtype=dtype), numerics or EXACT)
    if not isinstance(source, (str, Path)):
        raise PluginError(
            f"a landmark model is registered that gives {type(source).__name__}; expected the path of a bundle, a "
            "LandmarkModel or a LandmarkDetector"
        )
    bundle = load_bundle(source, mmap=mmap, verify=verify)
    record = bundle.get("validator")
    detector = LandmarkDetector(
        build_model(bundle, dtype),
        numerics or bundle.get("numerics", "openface"),
        DetectionValidator.from_record(record, dtype) if record else None,
    )
    detector.origin = _origin(bundle)
    return detector


def _origin(bundle: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a bundle says beside its model."""
    names = ("licence", "sources", "skipped", "face_detector")
    return {name: bundle[name] for name in names if bundle.get(name) is not None}


def _on_cpu(record: Any) -> Any:
    """A record whose tensors are on the CPU, without a graph."""
    if isinstance(record, Tensor):
        return record.detach().cpu()
    if isinstance(record, Mapping):
        return {name: _on_cpu(value) for name, value in record.items()}
    return type(record)(map(_on_cpu, record)) if isinstance(record, (list, tuple)) else record
