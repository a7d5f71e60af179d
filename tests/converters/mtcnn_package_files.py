"""Files as the package mtcnn has them, with random weights; and its networks, in numpy and in its own order of axes."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clnf_torch.converters.mtcnn_package.architectures import ARCHITECTURES, array_shapes

Arrays = Sequence[np.ndarray]


def random_arrays(name: str, seed: int = 5) -> list[np.ndarray]:
    """Arrays of the right shapes; maps keep about their size from layer to layer."""
    rng = np.random.default_rng(seed)
    shapes = array_shapes(ARCHITECTURES[name])
    return [rng.normal(0, 1 / np.sqrt(max(1, np.prod(shape[:-1]))), shape).astype(np.float32) for shape in shapes]


def write_package(folder: Path) -> Path:
    """The package's folder, with random weights."""
    weights = folder / "assets" / "weights"
    weights.mkdir(parents=True)
    for name in ARCHITECTURES:
        (weights / f"{name}.lz4").write_bytes(framed(pickled(random_arrays(name))))
    return folder


def framed(content: bytes, size: int = 1 << 16) -> bytes:
    """An LZ4 frame of blocks that are not compressed."""
    blocks = [content[start : start + size] for start in range(0, len(content), size)]
    lengths = [(len(block) | 1 << 31).to_bytes(4, "little") for block in blocks]
    return b"\x04\x22\x4d\x18\x40\x40\xc0" + b"".join(map(bytes.__add__, lengths, blocks)) + bytes(4)


def pickled(arrays: Arrays) -> bytes:
    """A list of arrays as joblib writes it, opcode by opcode."""
    return b"\x80\x04](" + b"".join(map(pickled_array, arrays)) + b"e."


def pickled_array(array: np.ndarray, subclass: bytes = b"cnumpy\nndarray\n", padding: int = 3) -> bytes:
    """An array's description, then padding, then its numbers."""
    state = {b"shape": plain(array.shape), b"order": plain("C"), b"dtype": pickled_dtype(array.dtype)}
    fields = b"".join(plain(key.decode()) + value for key, value in state.items())
    fields += plain("subclass") + subclass + plain("numpy_array_alignment_bytes") + plain(16)
    description = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(" + fields + b"ub"
    return description + bytes([padding]) + b"\xff" * padding + array.tobytes()


def pickled_dtype(dtype: np.dtype) -> bytes:
    """A number type, as numpy's pickles name it."""
    code, order = dtype.str[1:], dtype.str[0]
    return (
        b"cnumpy\ndtype\n" + plain((code, False, True)) + b"R" + plain((3, order, None, None, None, -1, -1, 0)) + b"b"
    )


def plain(value: object) -> bytes:
    """The opcodes that make a plain value."""
    return pickle.dumps(value, protocol=2)[2:-1]


def forward(name: str, arrays: Arrays, image: np.ndarray) -> np.ndarray:
    """What the package's network says of an image (3, H, W): face or not, then corrections, then landmarks.

    Written from the package's description of its layers, in float64; images are (row, column, channel) in here.
    """
    waiting = [array.astype(np.float64) for array in arrays]

    def take(count: int) -> list[np.ndarray]:
        return [waiting.pop(0) for _ in range(count)]

    maps = image.transpose(1, 2, 0).astype(np.float64)
    pools = {"pnet": ((2, "same"), None, None), "rnet": ((3, "same"), (3, "valid"), None)}
    pools["onet"] = ((3, "same"), (3, "valid"), (2, "same"), None)
    for pool in pools[name]:
        weight, bias, slope = take(3)
        maps = _prelu(_convolution(maps, weight, bias), slope)
        maps = maps if pool is None else _max_pool(maps, *pool)
    if name == "pnet":
        corrections, corrections_bias, logits, logits_bias = take(4)
        answers = _convolution(maps, logits, logits_bias), _convolution(maps, corrections, corrections_bias)
        return np.concatenate(answers, -1).transpose(2, 0, 1)
    weight, bias, slope = take(3)
    hidden = _prelu(maps.transpose(1, 0, 2).reshape(-1) @ weight + bias, slope)  # the package permutes, then flattens
    answers = [hidden @ waiting.pop(0) + waiting.pop(0) for _ in range(len(waiting) // 2)]
    return np.concatenate([answers[-1], *answers[:-1]])


def _convolution(maps: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    side = weight.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(maps, (side, side), axis=(0, 1))
    return np.einsum("rcikl,klio->rco", windows, weight) + bias


def _prelu(values: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, values * slope)


def _max_pool(maps: np.ndarray, side: int, padding: str) -> np.ndarray:
    """Windows two apart; "same" pads half of what is missing, rounded down, before the maps and the rest after them."""
    if padding == "same":
        missing = [max(0, 2 * (-(-size // 2) - 1) + side - size) for size in maps.shape[:2]]
        maps = np.pad(maps, [*((lack // 2, lack - lack // 2) for lack in missing), (0, 0)], constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(maps, (side, side), axis=(0, 1))
    return windows[::2, ::2].max((-1, -2))
