"""The landmark detector in a file."""

from pathlib import Path

import torch

from clnf_torch.detection.validator import DetectionValidator
from clnf_torch.fitting.parts import check_parts
from clnf_torch.models.bundle import BundleError, build_model, default_bundle, load_bundle
from clnf_torch.models.numerics import Numerics
from clnf_torch.pipeline.detector import LandmarkDetector


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
        path: A bundle from ``clnf-torch convert`` or ``train``; None: the one that is installed with the package.
        device: Where to put it.
        dtype: Number type of the arithmetic.
        numerics: "openface" or "exact"; None: what the bundle was made for.
        precision: Of products in the patch experts: "float32", "tf32" (on CUDA) or "bf16"; None: as `numerics` says,
            float32 unless it is a `Numerics` of one's own.
        mmap: The weights stay in the file, which must then not be changed in place; see `load_bundle`.
        verify: Whether to compare the whole file with its checksums; None: once, if it is large; see `load_bundle`.

    Raises:
        BundleError: The file is damaged, or no bundle.
        ValueError: There are no such numerics, or no such precision.
    """
    path = default_bundle() if path is None else path
    bundle = load_bundle(path, mmap=mmap, verify=verify)
    record = bundle.get("validator")
    detector = LandmarkDetector(
        build_model(bundle, dtype),
        numerics or bundle.get("numerics", "openface"),
        DetectionValidator.from_record(record, dtype) if record else None,
    )
    try:
        check_parts(detector.model)
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error
    if precision is not None:
        detector.precision = precision
    return detector.to(device).eval().requires_grad_(False)
