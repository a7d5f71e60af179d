"""Writes a bundle's CEN experts back as OpenFace's ``cen_patches_*_of.dat``.

A record that came from such a file carries what the runtime does not need (``openface``), and the file comes back byte
for byte. A float16 record comes back as float32. A record of a model that was trained here has none of it: its
mirrored experts are written out, and its first layer's constant column is 0.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from clnf_torch.converters.openface.binary import DTYPES, FLOAT32, FLOAT64, HEADER, INT32
from clnf_torch.converters.openface.cen import ACTIVATIONS, MARKER

Values = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpertSlots:
    """Which stored expert is written for each landmark of each view, and the header's tables.

    Attributes:
        own: Number of the stored expert, -1 for an empty one, (V, N).
        flipped: Whether it is written mirrored, (V, N).
        sizes: Width and height, (V, N, 2).
        view_centers: Degrees, (V, 3).
        mirror_inds: (N,).
        mirror_views: (V,).
        shapes: Rows and columns of the header's vectors.
    """

    own: Values
    flipped: Values
    sizes: Values
    view_centers: Values
    mirror_inds: Values
    mirror_views: Values
    shapes: dict[str, Any]


def file_name(record: dict[str, Any]) -> str:
    """The name of the file that a record came from, or OpenFace's name for its scale."""
    name = PurePosixPath(str(record.get("openface", {}).get("file", "")).replace("\\", "/")).name
    return name if name not in ("", "..") else f"cen_patches_{record['scale']:.2f}_of.dat"


def write_cen(record: dict[str, Any], converted: bool, stream: BinaryIO) -> None:
    """Writes a CEN file.

    Args:
        record: A scale's experts, as in the bundle.
        converted: Whether to write mirrored experts as empty ones that point to their partners, as the source file
            did. Only right when all scales' records have an ``openface`` part: the last file's mirror tables serve all.
        stream: The file to write.
    """
    slots = _source_slots(record) if converted else _explicit_slots(record)
    visible, confidence = record["visible"].numpy(), record["confidence"].numpy()
    _write_header(record["scale"], visible, slots, stream)
    experts = _expert_table(record)
    for view, landmark in np.ndindex(*slots.own.shape):
        number = int(slots.own[view, landmark])
        layers = [] if number < 0 else list(_layers(record, *experts[number], bool(slots.flipped[view, landmark])))
        width, height = map(int, slots.sizes[view, landmark])
        stream.write(struct.pack("<4i", MARKER, width, height, len(layers)))
        for activation, bias, weight in layers:
            stream.write(struct.pack("<i", activation))
            _write_matrix(bias, stream)
            _write_matrix(weight, stream)
        stream.write(struct.pack("<d", confidence[view, landmark]))


def _source_slots(record: dict[str, Any]) -> ExpertSlots:
    """The slots of the source file."""
    source = record["openface"]
    own = source["own"].numpy()
    tables = {name: source[name].numpy() for name in ("sizes", "view_centers", "mirror_inds", "mirror_views")}
    return ExpertSlots(own=own, flipped=np.zeros_like(own, bool), shapes=source["shapes"], **tables)


def _explicit_slots(record: dict[str, Any]) -> ExpertSlots:
    """Every visible landmark with an expert of its own, and mirror tables that point nowhere else."""
    own = record["expert"].numpy()
    views, points = own.shape
    return ExpertSlots(
        own=own,
        flipped=record["flipped"].numpy(),
        sizes=np.full((views, points, 2), record["support"]),
        view_centers=np.rad2deg(record["view_centers"].numpy()),
        mirror_inds=np.arange(points),
        mirror_views=np.arange(views),
        shapes={
            "view_centers": [[3, 1]] * views,
            "visible": [[points, 1]] * views,
            "mirror_inds": [1, points],
            "mirror_views": [1, views],
        },
    )


def _write_header(scale: float, visible: Values, slots: ExpertSlots, stream: BinaryIO) -> None:
    """Everything before the experts."""
    stream.write(struct.pack("<di", scale, len(visible)))
    for center, shape in zip(slots.view_centers, slots.shapes["view_centers"], strict=True):
        _write_matrix(center.reshape(shape), stream, FLOAT64)
    for seen, shape in zip(visible, slots.shapes["visible"], strict=True):
        _write_matrix(seen.reshape(shape), stream, INT32)
    _write_matrix(slots.mirror_inds.reshape(slots.shapes["mirror_inds"]), stream, INT32)
    _write_matrix(slots.mirror_views.reshape(slots.shapes["mirror_views"]), stream, INT32)


def _write_matrix(values: Values, stream: BinaryIO, code: int | None = None) -> None:
    """A binary matrix, float32 or float64 as it comes unless ``code`` says otherwise."""
    if code is None:
        code = FLOAT64 if values.dtype == np.float64 else FLOAT32
    stream.write(HEADER.pack(*values.shape, code))
    stream.write(np.ascontiguousarray(values, DTYPES[code]).data)


def _expert_table(record: dict[str, Any]) -> list[tuple[int, int]]:
    """Stack and row of each stored expert, by its number."""
    counts = [len(stack["biases"][0]) for stack in record["stacks"]]
    return [(s, row) for s, count in enumerate(counts) for row in range(count)]


def _layers(record: dict[str, Any], s: int, row: int, flipped: bool) -> Iterator[tuple[int, Values, Values]]:
    """The activation, bias and weights (out, in) of each layer of an expert, as the file has them."""
    stack = record["stacks"][s]
    source = record["openface"]["stacks"][s] if "openface" in record else {}
    inputs = record["support"] ** 2
    for k, name in enumerate(stack["activations"]):
        outputs = int(source["widths"][row, k]) if source else stack["biases"][k].shape[1]
        weight = stack["weights"][k].numpy()[row, :inputs, :outputs].astype(np.float32)
        bias = stack["biases"][k].numpy()[row, :outputs].astype(np.float32)
        if k == 0:
            bias, constant = _split_bias(bias, source, row, outputs)
            weight = np.concatenate([constant[None], _column_major(weight, record["support"], flipped)])
        bias, weight = _exact(bias, weight.T, source, row, k)
        as_row = bool(source["bias_rows"][row, k]) if source else False
        yield ACTIVATIONS.index(name), bias.reshape((1, -1) if as_row else (-1, 1)), weight
        inputs = outputs


def _split_bias(bias: Values, source: dict[str, Any], row: int, outputs: int) -> tuple[Values, Values]:
    """The first layer's bias and constant column (out,), of which the bundle holds the sum."""
    if "constant" not in source:
        return bias, np.zeros_like(bias)
    return source["bias"].numpy()[row, :outputs], source["constant"].numpy()[row, :outputs]


def _column_major(weight: Values, side: int, flipped: bool) -> Values:
    """Rows from pixels row by row to pixels column by column, mirrored left to right if asked, (S * S, out)."""
    pixels = weight.reshape(side, side, -1)
    if flipped:
        pixels = pixels[:, ::-1]
    return pixels.swapaxes(0, 1).reshape(side * side, -1)


def _exact(bias: Values, weight: Values, source: dict[str, Any], row: int, k: int) -> tuple[Values, Values]:
    """Puts the float64 originals, kept end to end for each layer, in the place of their float32 copies."""
    if "doubles" not in source:
        return bias, weight
    exact = []
    for which, (name, rounded) in enumerate((("bias", bias), ("weight", weight))):
        is_double = source["types"].numpy()[:, k, which] == FLOAT64
        if not is_double[row]:
            exact.append(rounded)
            continue
        sizes = source["widths"].numpy()[:, k] * (1 if name == "bias" else _inputs(source, k, weight))
        start = int((sizes * is_double)[:row].sum())
        exact.append(source["doubles"][k][name][start : start + rounded.size].numpy().reshape(rounded.shape))
    return exact[0], exact[1]


def _inputs(source: dict[str, Any], k: int, weight: Values) -> Values | int:
    """Columns of layer ``k``'s weights, of each expert of the stack; the first layer's are the same for all."""
    return weight.shape[1] if k == 0 else source["widths"].numpy()[:, k - 1]
