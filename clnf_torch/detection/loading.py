"""The face detector in a bundle, one that is installed with the package, or one that another package registers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from clnf_torch.detection import blazeface, mtcnn
from clnf_torch.detection.blazeface import BlazeFace, BlazeFaceConfig
from clnf_torch.detection.face_detector import FaceDetector
from clnf_torch.detection.mtcnn import MTCNN, MTCNNConfig
from clnf_torch.models.bundle import BundleError, bundle_file, installed_file, load_bundle
from clnf_torch.models.plugins import FACE_DETECTORS, PluginError, registered, registered_names
from clnf_torch.models.schema import SchemaError

Config = MTCNNConfig | BlazeFaceConfig
"""Settings of our own detectors."""
Settings = TypeVar("Settings")
# Detectors that are installed with the package, besides the default model's
INSTALLED = {blazeface.KIND: "blazeface.pt"}


def load_face_detector(
    path: str | Path | None = None,
    device: torch.device | str = "cpu",
    *,
    dtype: torch.dtype = torch.float32,
    config: Config | None = None,
    mmap: bool = True,
    verify: bool | None = None,
) -> FaceDetector:
    """The face detector in a bundle, one that is installed with the package, or one that another package registers.

    Args:
        path: A bundle from ``clnf-torch convert`` or ``train``; ``"blazeface"``, which is installed with the package;
            or the name of an entry point in the group ``clnf_torch.face_detectors``. None: the default model's, MTCNN.
        device: Where to put it.
        dtype: Number type of the arithmetic.
        config: An `MTCNNConfig` or a `BlazeFaceConfig`, as the detector is; None: the settings that the bundle names,
            and the defaults of the others.
        mmap: The weights stay in the file until they are used; see `load_bundle`.
        verify: Whether to read the whole file, and compare it with its checksums; see `load_bundle`.

    Returns:
        A `FaceDetector`; of the bundles from this package `MTCNN` or `BlazeFace`.

    Raises:
        BundleError: The file is damaged, no bundle, or holds no face detector.
        PluginError: What is registered under the name is no face detector.
        TypeError: The settings are those of another detector.
    """
    path = bundle_file(path)
    if str(path) in INSTALLED and not Path(path).exists():
        path = installed_file(INSTALLED[str(path)])
    if not Path(path).exists() and (maker := registered(FACE_DETECTORS, str(path))) is not None:
        return _placed(str(path), maker(), device)
    try:
        record = load_bundle(path, mmap=mmap, verify=verify).get("face_detector")
    except BundleError as error:
        raise _with_names(error, path) from error
    if record is None:
        raise BundleError(
            f"{path}: holds no face detector; convert a model directory with mtcnn_detector/MTCNN_detector.txt in it, "
            "or give the boxes of the faces"
        )
    try:
        return face_detector_from(record, device, dtype, config)
    except SchemaError as error:
        raise BundleError(f"{path}: {error}") from error


def face_detector_from(
    record: Mapping[str, Any],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    config: Config | None = None,
) -> FaceDetector:
    """The face detector in a bundle's record; arguments and errors as of `load_face_detector`."""
    if record["kind"] == mtcnn.KIND:
        return MTCNN.from_record(record, dtype, _settings(config, MTCNNConfig)).to(device)
    if record["kind"] == blazeface.KIND:
        return BlazeFace.from_record(record, dtype, _settings(config, BlazeFaceConfig)).to(device)
    kind = registered(FACE_DETECTORS, record["kind"])
    if not hasattr(kind, "from_record"):
        raise PluginError(f"the face detector is {record['kind']!r:.60}; install the package that registers it")
    return _placed(record["kind"], kind.from_record(record, dtype), device)


def _settings(config: Any, kind: type[Settings]) -> Settings | None:
    """The settings, if they are the detector's."""
    if config is None or isinstance(config, kind):
        return config
    raise TypeError(f"config is of type {type(config).__name__}; this face detector takes {kind.__name__}")


def _placed(name: str, detector: Any, device: torch.device | str) -> FaceDetector:
    """A detector of another package on a device, if it moves."""
    if not callable(getattr(detector, "detect", None)):
        raise PluginError(f"{name}: gives {type(detector).__name__}, which has no method detect(frames) -> FaceBoxes")
    found: FaceDetector = detector.to(device) if hasattr(detector, "to") else detector
    return found


def _with_names(error: BundleError, path: str | Path) -> BundleError:
    """The error, with the names that are registered where it is none of a file."""
    names = (*INSTALLED, *registered_names(FACE_DETECTORS))
    if Path(path).exists() or Path(path).suffix:
        return error
    return BundleError(f"{error}; or give one of the face detectors: {', '.join(names)}")
