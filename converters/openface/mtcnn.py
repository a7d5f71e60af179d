"""OpenFace's face detector: ``MTCNN_detector.txt`` and the three networks that it names."""

from pathlib import Path
from typing import Any

from clnf_torch import detection
from clnf_torch.converters.openface.binary import open_binary
from clnf_torch.converters.openface.description import only, read_description
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.network import MTCNN, Layer, Shape, read_network

# Where the detector lies beside a landmark model
PLACE = Path("mtcnn_detector", "MTCNN_detector.txt")
# The networks, and the sides of their inputs, pixels
SIDES = {"PNet": 12, "RNet": 24, "ONet": 48}
# Two logits and four box corrections at least
OUTPUTS = 6


def find_mtcnn(folder: Path) -> Path | None:
    """The description of the face detector in a model directory, or None."""
    path = folder / PLACE
    return path if path.is_file() else None


def mtcnn_files(path: Path) -> tuple[Path, ...]:
    """The files of a face detector.

    Args:
        path: ``MTCNN_detector.txt``.

    Returns:
        The description and the networks, in the order of ``SIDES``.

    Raises:
        ConversionError: It is no description, or names a network twice or not at all.
    """
    modules = read_description(path, "a description of a face detector")
    found = [only(modules, name) for name in SIDES]
    for name, module in zip(SIDES, found, strict=True):
        if module is None:
            others = ", ".join(sorted({module.keyword for module in modules})[:3]) or "no modules"
            raise ConversionError(path, expected=f"a line {name}", found=others[:60], remedy="add the missing line")
    return (path, *(module.path for module in found if module is not None))


def convert_mtcnn(path: Path) -> dict[str, Any]:
    """Reads a face detector.

    Args:
        path: ``MTCNN_detector.txt``.

    Returns:
        The ``face_detector`` of a bundle: ``kind`` and, for each of ``pnet``, ``rnet`` and ``onet``, its ``layers``.

    Raises:
        ConversionError: A file is missing, damaged, or not the network that it should be.

    Source:
        OpenFace ``FaceDetectorMTCNN::Read`` and ``CNN::Read``.
    """
    _, *files = mtcnn_files(path)
    networks = {name: _read_file(file, name) for name, file in zip(SIDES, files, strict=True)}
    return detection.MTCNN.record({name.lower(): layers for name, layers in networks.items()})


def _read_file(path: Path, name: str) -> list[Layer]:
    """The layers of one network file."""
    what, side = f"MTCNN's network {name}", SIDES[name]
    with open_binary(path, what) as reader:
        layers, shape = read_network(reader, MTCNN, (3, side, side))
        reader.expect_end("the last layer")
    if not (_is_convolutional(layers, shape) if name == "PNet" else len(shape) == 1 and shape[0] >= OUTPUTS):
        wanted = "maps of cells for 12 x 12 pixels" if name == "PNet" else "one vector"
        found = f"an output of {' x '.join(map(str, shape))}"
        raise ConversionError(path, expected=f"{name} to put out {wanted}, {OUTPUTS} numbers at least", found=found)
    return layers


def _is_convolutional(layers: list[Layer], shape: Shape) -> bool:
    """Whether a network can slide over an image two pixels at a time, and sees ``SIDES["PNet"]`` of them at once."""
    strides = [stride for layer in layers if layer["kind"] == "max_pool" for stride in layer["stride"]]
    return len(shape) == 3 and shape[0] >= OUTPUTS and shape[1:] == (1, 1) and [s for s in strides if s > 1] == [2, 2]
