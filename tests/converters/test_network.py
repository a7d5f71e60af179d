"""Networks in OpenFace's files: what a file says by its own indices, and damaged ones."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from clnf_torch.converters import ConversionError
from clnf_torch.converters.openface.binary import BinaryReader
from clnf_torch.converters.openface.network import MTCNN, VALIDATOR, Layer, LayerCodes, Shape, read_network
from clnf_torch.models.layers import build_network
from tests.converters.mtcnn_files import network_pieces
from tests.converters.openface_files import matrix, offset_of

INT = struct.Struct("<i").pack


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("<f4")


def read(
    path: Path, content: bytes, codes: LayerCodes = MTCNN, inputs: tuple[int, int, int] = (3, 24, 24)
) -> tuple[list[Layer], Shape]:
    path.write_bytes(content)
    with open(path, "rb") as stream:
        reader = BinaryReader(stream, path)
        network = read_network(reader, codes, inputs)
        reader.expect_end("the last layer")
    return network


def answer(layers: list[Layer], image: np.ndarray) -> np.ndarray:
    return build_network(layers)(torch.from_numpy(image)[None])[0].numpy()


def test_kernels_are_stored_input_by_input(tmp_path):
    kernels, bias, image = floats(2, 3, 2, 4), floats(3, seed=1), floats(2, 5, 6, seed=2)  # [input][kernel](y, x)
    content = INT(1) + struct.pack("<3i", 0, 2, 3) + bias.tobytes()
    content += b"".join(matrix(kernels[i, k]) for i in range(2) for k in range(3))
    layers, shape = read(tmp_path / "n.dat", content, inputs=(2, 5, 6))
    found = answer(layers, image)
    assert shape == found.shape == (3, 4, 3)
    for k, y, x in np.ndindex(*shape):
        expected = bias[k] + sum((image[i, y : y + 2, x : x + 4] * kernels[i, k]).sum() for i in range(2))
        assert found[k, y, x] == pytest.approx(expected, abs=1e-5)


def test_maps_are_flattened_column_by_column(tmp_path):
    weight, bias, image = floats(2 * 3 * 4, 5), floats(5, 1, seed=1), floats(2, 3, 4, seed=2)
    layers, shape = read(tmp_path / "n.dat", INT(1) + INT(2) + matrix(bias) + matrix(weight), inputs=(2, 3, 4))
    assert shape == (5,) and layers[0]["kind"] == "linear"
    vector = np.concatenate([image[m, :, x] for m in range(2) for x in range(4)])  # index m * H * W + x * H + y
    np.testing.assert_allclose(answer(layers, image), vector @ weight + bias[:, 0], rtol=1e-5, atol=1e-5)


def test_an_input_for_each_map_makes_a_convolution(tmp_path):
    weight, bias, image = floats(2, 5), floats(5, 1, seed=1), floats(2, 3, 4, seed=2)
    layers, shape = read(tmp_path / "n.dat", INT(1) + INT(2) + matrix(bias) + matrix(weight), inputs=(2, 3, 4))
    assert shape == (5, 3, 4) and layers[0]["kind"] == "conv"
    expected = np.einsum("iyx,io->oyx", image, weight) + bias[:, :, None]
    np.testing.assert_allclose(answer(layers, image), expected, rtol=1e-5, atol=1e-5)


def test_windows_are_stored_x_before_y(tmp_path):
    layers, shape = read(tmp_path / "n.dat", INT(1) + INT(1) + struct.pack("<4i", 3, 2, 2, 1), inputs=(1, 6, 6))
    assert layers == [{"kind": "max_pool", "kernel": [2, 3], "stride": [1, 2]}] and shape == (1, 5, 3)
    assert answer(layers, floats(1, 6, 6)).shape == shape


def test_the_validators_codes(tmp_path):
    layers, shape = read(tmp_path / "n.dat", INT(3) + INT(3) + INT(1) + INT(4), VALIDATOR, (2, 5, 7))
    assert [layer["kind"] for layer in layers] == ["relu", "max_pool", "sigmoid"] and shape == (2, 3, 4)
    assert layers[1]["kernel"] == layers[1]["stride"] == [2, 2]


@pytest.mark.parametrize("name", ["RNet", "ONet"])
def test_shapes_are_those_of_the_answers(tmp_path, name):
    side = {"RNet": 24, "ONet": 48}[name]
    layers, shape = read(tmp_path / "n.dat", b"".join(network_pieces(name).values()), inputs=(3, side, side))
    assert answer(layers, floats(3, side, side)).shape == shape
    assert all(value.is_contiguous() for layer in layers for value in layer.values() if isinstance(value, torch.Tensor))


BAD = np.full((3, 3), np.inf, "<f4")
DAMAGE = {
    "no layers": ("depth", INT(0), "from 1 to 100, found 0", 0),
    "negative layers": ("depth", INT(-5), "from 1 to 100", 0),
    "absurd layers": ("depth", INT(2**31 - 1), "from 1 to 100", 0),
    "fewer layers": ("depth", INT(6), "the end of the file after the last layer", None),
    "unknown layer": ("prelu 1", INT(5), "a kind of layer 2 of 7 from 0 to 4, found 5", 0),
    "convolution of other maps": ("convolution 0", struct.pack("<3i", 0, 1, 2), "with 3 inputs", 4),
    "no kernels": ("convolution 0", struct.pack("<3i", 0, 3, 0), "at least one kernel", 4),
    "absurd kernels": ("convolution 0", struct.pack("<3i", 0, 3, 2**31 - 1), "2147483647 numbers", 12),
    "infinite kernel bias": ("kernel biases 0", np.array([1, np.nan], "<f4").tobytes(), "finite numbers", 4),
    "kernel of doubles": ("kernel 0 of 0", matrix(np.zeros((3, 3), "<f8")), "of float32 that fit", 0),
    "kernel of no rows": ("kernel 0 of 0", struct.pack("<3i", 0, 3, 5), "fit into maps of 24 x 24", 0),
    "kernel beyond its maps": ("kernel 0 of 0", matrix(floats(25, 1)), "fit into maps of 24 x 24", 0),
    "kernel unlike the first": ("kernel 4 of 0", matrix(floats(1, 9)), "another kernel of layer 1 of 7, 3 x 3", 0),
    "infinite kernel": ("kernel 2 of 0", matrix(BAD), "finite numbers in the kernels of layer 1 of 7, found inf", 12),
    "slopes of other maps": ("slopes 1", matrix(floats(3, 1)), "2 values of float32", 0),
    "infinite slope": ("slopes 1", matrix(BAD[:2, :1]), "a finite number", 12),
    "window of nothing": ("windows 2", struct.pack("<4i", 0, 3, 2, 2), "windows of layer 3 of 7 within maps", 0),
    "window beyond its maps": ("windows 2", struct.pack("<4i", 3, 99, 2, 2), "within maps of 22 x 22", 0),
    "stride of 3": ("windows 2", struct.pack("<4i", 3, 3, 3, 2), "strides of 1 or 2", 0),
    "stride of 0": ("windows 2", struct.pack("<4i", 3, 3, 2, 0), "strides of 1 or 2", 0),
    "pixels between windows": ("windows 2", struct.pack("<4i", 1, 3, 2, 2), "within the windows", 0),
    "weights of other maps": ("weights 3", matrix(floats(241, 5)), "weights of layer 4 of 7, 242 x 5", 0),
    "weights of other outputs": ("weights 3", matrix(floats(242, 4)), "weights of layer 4 of 7, 242 x 5", 0),
    "weights of doubles": ("weights 3", matrix(np.zeros((242, 5))), "242 x 5 of float32", 0),
    "infinite weight": ("weights 3", matrix(np.full((242, 5), -np.inf, "<f4")), "a finite number", 12),
    "biases in a square": ("biases 3", matrix(floats(2, 2)), "some values of float32", 0),
    "pool of a vector": ("sigmoid 5", INT(1) + struct.pack("<4i", 2, 2, 2, 2), "for a vector of 5", 0),
    "further bytes": ("weights 6", matrix(floats(5, 6)) + b"x", "1 further bytes", 12 + 4 * 30),
}


@pytest.mark.parametrize(("piece", "new", "complaint", "offset"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_named_with_its_place(tmp_path, piece, new, complaint, offset):
    pieces = network_pieces("RNet")
    start = offset_of(pieces, piece)
    pieces[piece] = new
    path = tmp_path / "n.dat"
    with pytest.raises(ConversionError) as caught:
        read(path, b"".join(pieces.values()))
    text = str(caught.value)
    assert text.startswith(str(path)) and "\n" not in text and complaint in text
    if offset is not None:
        assert caught.value.place.byte == start + offset


def test_a_file_may_end_anywhere(tmp_path):
    content = b"".join(network_pieces("RNet").values())
    for size in {*range(0, 400, 7), *range(400, len(content), 211), len(content) - 1}:
        with pytest.raises(ConversionError, match="expected"):
            read(tmp_path / "n.dat", content[:size])
