"""`clnf_torch.converters.mediapipe_package`: a wheel that holds the installed weights becomes the same detector."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("tflite", reason="the extra mediapipe is not installed")

from clnf_torch.converters import ConversionError, convert_face_detector
from clnf_torch.converters.face_detector import package_of
from clnf_torch.converters.mediapipe_package import LICENCE, blazeface_record
from clnf_torch.converters.mediapipe_package.layers import dense, read_layers
from clnf_torch.converters.mediapipe_package.record import FILES
from clnf_torch.detection.blazeface_networks import NETWORKS
from clnf_torch.models.bundle import installed_file, load_bundle
from tests.converters.tflite_files import Layer, write_tflite

WHEEL = "mediapipe-0.10.14.whl"


def installed() -> dict:
    return load_bundle(installed_file("blazeface.pt"))["face_detector"]


def convolutions_of(name: str) -> list[Layer]:
    """The installed weights in TensorFlow's order of axes, in the order of a forward pass."""
    weights, order = installed()["networks"][name]["weights"], []
    with torch.device("meta"):
        network = NETWORKS[name]()
        for prefix, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(lambda layer, _, __, prefix=prefix: order.append((prefix, layer.groups)))
        network(torch.zeros(1, 3, network.side, network.side))
    found = []
    for prefix, groups in order:
        axes, kind = ((1, 2, 3, 0), "depthwise") if groups > 1 else ((0, 2, 3, 1), "conv")
        weight = weights[f"{prefix}.weight"].permute(axes).contiguous().numpy()
        found.append((kind, weight, weights[f"{prefix}.bias"].numpy()))
    return found


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {file: write_tflite(convolutions_of(name), "sparse" in file) for name, file in FILES.items()}


@pytest.fixture
def wheel(tmp_path, files):
    path = tmp_path / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(f"mediapipe/modules/face_detection/{file}", content)
    return path


def test_a_wheel_becomes_the_installed_detector(tmp_path, wheel):
    convert_face_detector(wheel, tmp_path / "m.pt")
    bundle, expected = load_bundle(tmp_path / "m.pt"), installed()
    made = bundle["face_detector"]
    assert bundle["sources"][0]["name"] == WHEEL and bundle["licence"] == made["licence"] == LICENCE
    assert made["networks"].keys() == expected["networks"].keys()
    for name, network in made["networks"].items():
        other = expected["networks"][name]
        assert torch.equal(network["to_landmarks"], other["to_landmarks"])
        assert network["weights"].keys() == other["weights"].keys()
        assert all(torch.equal(value, other["weights"][key]) for key, value in network["weights"].items())


def test_an_installed_package_is_read_too(tmp_path, files):
    folder = tmp_path / "mediapipe" / "modules" / "face_detection"
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    assert package_of(tmp_path / "mediapipe") == "mediapipe"
    assert blazeface_record(tmp_path / "mediapipe")["networks"].keys() == set(NETWORKS)


def test_sparse_rows_become_dense():
    weight = np.array([[[[0, 2, 0, 1]]], [[[0, 0, 0, 0]]], [[[3, 0, 0, 4]]]], np.float16)
    file = write_tflite([("conv", weight, np.arange(3, dtype=np.float16))], sparse=True)
    ((kind, (found, bias)),) = read_layers(file)
    assert kind == "conv" and np.array_equal(found, weight) and found.dtype == np.float16
    assert bias.tolist() == [0, 1, 2]


@pytest.mark.parametrize("end", [0, 8, 100, 5_000])
def test_cut_files_are_refused(tmp_path, wheel, files, end):
    file = FILES["full_range"]
    with zipfile.ZipFile(wheel) as archive:
        others = {name: archive.read(name) for name in archive.namelist() if not name.endswith(file)}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in others.items():
            archive.writestr(name, content)
        archive.writestr(f"mediapipe/modules/face_detection/{file}", files[file][:end])
    with pytest.raises(ConversionError, match="expected the network full_range"):
        blazeface_record(wheel)


def test_damaged_files_are_refused_or_read(files):
    """Whatever single bytes are changed: arrays, or one error."""
    content, rng = files[FILES["short_range"]], np.random.default_rng(3)
    for _ in range(60):
        changed = bytearray(content)
        # Where the tables are: at the end
        place = int(rng.integers(len(content) - 20_000, len(content)))
        changed[place] ^= int(rng.integers(1, 256))
        try:
            read = read_layers(bytes(changed))
        except ValueError:
            continue
        assert all(isinstance(weight, np.ndarray) for _, arrays in read for weight in arrays)


def test_other_networks_and_packages_are_refused(tmp_path, files):
    path = tmp_path / WHEEL
    with zipfile.ZipFile(path, "w") as archive:
        for file in FILES.values():
            archive.writestr(f"mediapipe/modules/face_detection/{file}", files[FILES["full_range"]])
    with pytest.raises(ConversionError, match="91 layers with weights, expected 37"):
        blazeface_record(path)
    with pytest.raises(ConversionError, match="its file modules/face_detection"):
        blazeface_record(tmp_path / "none.whl")
    with pytest.raises(ConversionError, match="mediapipe or mtcnn"):
        convert_face_detector(tmp_path / "dlib-19.24.whl", tmp_path / "m.pt")


class _Blocks:
    """Sparsity in blocks, which no known file has."""

    def __getattr__(self, name):
        counts = {"BlockMapLength": 1, "DimMetadataLength": 0}
        return lambda *_: np.arange(2) if name == "TraversalOrderAsNumpy" else counts[name]


def test_blocks_are_refused():
    with pytest.raises(ValueError, match="expected the last axis alone sparse"):
        dense(np.zeros(4, np.float16), [2, 2], _Blocks())
