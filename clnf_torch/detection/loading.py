"""The face detector of a weights file."""

from pathlib import Path

import torch

from clnf_torch.detection.mtcnn import MTCNN, MTCNNConfig, build_mtcnn
from clnf_torch.models.bundle import BundleError, default_bundle, load_bundle


def load_face_detector(
    path: str | Path | None = None,
    device: torch.device | str = "cpu",
    *,
    dtype: torch.dtype = torch.float32,
    config: MTCNNConfig | None = None,
) -> MTCNN:
    """The face detector in a weights file.

    Args:
        path: A bundle from ``clnf-torch convert`` or ``train``; None: the one that is installed with the package.
        device: Where to put it.
        dtype: Number type of the arithmetic.
        config: Settings; None: those that the bundle names, and OpenFace's for the others.

    Raises:
        BundleError: The file is no bundle, or holds no face detector.
    """
    path = path or default_bundle()
    record = load_bundle(path).get("face_detector")
    if record is None:
        raise BundleError(
            f"{path}: holds no face detector; convert a model directory with mtcnn_detector/MTCNN_detector.txt in it, "
            "or give the boxes of the faces"
        )
    try:
        detector = build_mtcnn(record, dtype, config)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise BundleError(f"{path}: its fields do not make a face detector ({error!r}); convert it again") from error
    return detector.to(device)
