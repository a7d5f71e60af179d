"""CCNF patch experts (``ccnf_patches_*.txt``, binary for all that): what a file holds, and its record in a bundle."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clnf_torch.converters.openface.binary import FLOAT32, BinaryReader, open_binary
from clnf_torch.converters.openface.errors import ConversionError, Place
from clnf_torch.converters.openface.views import Views, fit_into, read_views, require_little_padding
from clnf_torch.models.patch_experts.ccnf import CCNFExperts

# Begin every expert and every neuron
MARKER, NEURON_MARKER = 5, 2
# The type of neurons that look at gray levels
RAW = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CcnfExpert:
    """An expert that has neurons.

    Attributes:
        numbers: Gain, bias and alpha of each neuron, (K, 3).
        weights: Templates of the neurons, rows along y, (K, S, S).
        betas: Weights of Sigma's components, (C,).
        confidence: How far it is to be trusted.
    """

    numbers: NDArray[np.float64]
    weights: NDArray[np.float32]
    betas: tuple[float, ...]
    confidence: float

    def scaled_weights(self) -> NDArray[np.float32]:
        """Templates times their gain, pixels row by row, (K, S * S). OpenFace multiplies in float32, too."""
        gains = self.numbers[:, 0, None].astype(np.float32)
        # Whoever stores them looks at what came out
        with np.errstate(over="ignore"):
            return self.weights.reshape(len(self.weights), -1) * gains


def read_expert(reader: BinaryReader, support: int, betas: int) -> CcnfExpert | None:
    """Reads one expert.

    Args:
        reader: The file, at the expert's marker.
        support: Side S of the experts before it, which it must share, or 0 for the first.
        betas: Number of its betas.

    Returns:
        The expert, or None for a landmark without neurons.

    Raises:
        ConversionError: It is damaged.
    """
    width, count = _read_size(reader, support)
    if count == 0:
        reader.expect(0, "the 0 that ends an expert without neurons")
        return None
    reader.require(count * (44 + 4 * width * width), f"{count} neurons of {width} x {width} pixels")
    numbers, weights = np.empty((count, 3)), np.empty((count, width, width), np.float32)
    for k in range(count):
        _read_neuron(reader, f"neuron {k + 1} of {count}", numbers[k], weights[k])
    *own, confidence = reader.finite(betas + 1, "an expert's betas and its confidence")
    return CcnfExpert(numbers=numbers, weights=weights, betas=tuple(own), confidence=confidence)


def _read_size(reader: BinaryReader, support: int) -> tuple[int, int]:
    """Side and number of neurons, after the marker."""
    reader.expect(MARKER, f"an expert's marker ({MARKER})")
    place = reader.place
    width, height, count = reader.take("3i", "an expert's width, height and number of neurons")
    if count < 0 or 48 * count > reader.remaining:
        place = replace(place, byte=reader.offset - 4)
        raise ConversionError(place, expected="a number of neurons that the file can hold", found=str(count))
    if width != height or width < (1 if count else 0) or (count and support not in (0, width)):
        side = support or "S"
        expected = f"an expert of {side} x {side} pixels, as all of a file are"
        raise ConversionError(place, expected=expected, found=f"{width} x {height}")
    return width, count


def _read_neuron(reader: BinaryReader, name: str, numbers: NDArray[np.float64], weights: NDArray[np.float32]) -> None:
    """Reads a neuron into its gain, bias and alpha (3,) and its template (S, S)."""
    place = reader.place
    marker, kind = reader.take("2i", f"marker ({NEURON_MARKER}) and type of {name}")
    if marker != NEURON_MARKER or kind != RAW:
        expected = f"marker {NEURON_MARKER} and type {RAW} (gray levels) of {name}"
        raise ConversionError(place, expected=expected, found=f"{marker} and {kind}")
    numbers[:] = reader.finite(3, f"gain, bias and alpha of {name}")
    matrix = reader.matrix(f"the weights of {name}")
    if matrix.shape != weights.shape or matrix.code != FLOAT32:
        expected = f"weights of {name}, {' x '.join(map(str, weights.shape))} of float32"
        raise ConversionError(matrix.place, expected=expected, found=matrix.description)
    weights[:] = matrix.read()


WHAT = "CCNF patch experts"

Components = dict[int, tuple[NDArray[np.float32], ...]]
"""Sigma's components by window size, each (R * R, R * R)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CcnfFile:
    """What a CCNF file holds.

    Attributes:
        path: The file.
        views: Scale, view centres and visibilities.
        components: Sigma's components by window size, for those sizes that have any.
        betas: Number of betas of each expert.
        support: Side S of the square that an expert looks at, pixels.
        experts: By view and landmark; landmarks without neurons have none.
    """

    path: Path
    views: Views
    components: Components
    betas: int
    support: int
    experts: dict[tuple[int, int], CcnfExpert]

    @property
    def num_views(self) -> int:
        """Number of views V."""
        return len(self.views.centers)

    @property
    def scale(self) -> float:
        """Pixels per millimetre."""
        return self.views.scale


def read_ccnf(path: Path, points: int) -> CcnfFile:
    """Reads a CCNF file.

    Args:
        path: The file.
        points: Number of landmarks N of the PDM.

    Returns:
        The file's contents.

    Raises:
        ConversionError: The file is anything but a complete CCNF file for N landmarks.

    Source:
        OpenFace ``Patch_experts::Read_CCNF_patch_experts`` and ``CCNF_patch_expert::Read``.
    """
    with open_binary(path, WHAT) as reader:
        views = read_views(reader, points)
        components, betas = _read_components(reader)
        experts = _read_experts(reader, views.visible, betas)
        reader.expect_end("the last expert")
    support = next(iter(experts.values())).weights.shape[-1]
    return CcnfFile(path=path, views=views, components=components, betas=betas, support=support, experts=experts)


def _read_components(reader: BinaryReader) -> tuple[Components, int]:
    """Sigma's components by window size, and the number of betas of every expert.

    OpenFace: of several entries for one window size the last one counts; the first window size listed, whichever it is,
    has as many components as each expert has betas.
    """
    place = reader.place
    count = reader.take("i", "the number of window sizes (int32)")
    # A size and a number of components at least
    if count < 0 or 8 * count > reader.remaining:
        raise ConversionError(place, expected="a number of window sizes that the file can hold", found=str(count))
    components: Components = {}
    betas = 0
    for k in range(count):
        place = reader.place
        window, number = reader.take("2i", "a window size and its number of components")
        if window < 1 or number < 0 or 16 * number > reader.remaining:
            found = f"{number} for window {window}"
            raise ConversionError(place, expected="a number of components that the file can hold", found=found)
        betas = number if k == 0 else betas
        components[window] = tuple(_read_component(reader, window) for _ in range(number))
    return {window: matrices for window, matrices in components.items() if matrices}, betas


def _read_component(reader: BinaryReader, window: int) -> NDArray[np.float32]:
    """A relation between the cells of a window, (R * R, R * R)."""
    matrix = reader.matrix(f"a component of window {window}")
    if matrix.code != FLOAT32 or matrix.shape != (window**2, window**2):
        expected = f"a component of window {window}, {window**2} x {window**2} of float32"
        raise ConversionError(matrix.place, expected=expected, found=matrix.description)
    return matrix.read()


def _read_experts(reader: BinaryReader, visible: NDArray[np.bool_], betas: int) -> dict[tuple[int, int], CcnfExpert]:
    """The experts of all V x N slots that have neurons, by view and landmark."""
    reader.require(20 * visible.size, f"{' x '.join(map(str, visible.shape))} experts of at least 20 bytes")
    experts: dict[tuple[int, int], CcnfExpert] = {}
    support = 0
    for view, landmark in np.ndindex(visible.shape):
        reader.view, reader.landmark = view, landmark
        place = reader.place
        expert = read_expert(reader, support, betas)
        if expert is not None:
            support = expert.weights.shape[-1]
            experts[view, landmark] = expert
        elif visible[view, landmark]:
            raise ConversionError(place, expected="neurons for a landmark that the view shows", found="none")
    reader.view = reader.landmark = None
    if not experts:
        raise ConversionError(reader.file, expected="at least one expert with neurons", found="none")
    return experts


def convert_ccnf(files: list[CcnfFile], half: bool) -> list[dict[str, Any]]:
    """The scales' experts as records of the bundle.

    Args:
        files: What the files hold, coarse to fine.
        half: Whether to store the experts' weights as float16.

    Returns:
        A record for each file.

    Raises:
        ConversionError: A file does not go with the last one, or cannot be stored.
    """
    # OpenFace: the table of components of the last file read serves all scales.
    matrices = {window: torch.from_numpy(np.stack(own)) for window, own in files[-1].components.items()}
    most = max(map(len, matrices.values()), default=0)
    for file in files:
        if file.betas < most:
            expected = f"{most} betas for the components that {files[-1].path.name} has"
            raise ConversionError(file.path, expected=expected, found=str(file.betas), remedy="use files of one model")
    return [_record(file, matrices, half) for file in files]


def _record(file: CcnfFile, components: dict[int, Tensor], half: bool) -> dict[str, Any]:
    """One scale's experts as a record of the bundle."""
    views = file.views
    experts = [file.experts[int(view), int(landmark)] for view, landmark in np.argwhere(views.visible)]
    counts = [len(expert.numbers) for expert in experts]
    require_little_padding(counts, file.path, "neurons")
    confidence = np.zeros(views.visible.shape)
    # Biases, alphas
    numbers = np.zeros((2, len(experts), max(counts, default=0)))
    weights = torch.zeros(
        len(experts), file.support**2, numbers.shape[-1], dtype=torch.float16 if half else torch.float32, device="cpu"
    )
    for (view, landmark), expert, row, target in zip(
        np.argwhere(views.visible), experts, numbers.swapaxes(0, 1), weights.numpy(), strict=True
    ):
        confidence[view, landmark] = expert.confidence
        row[:, : len(expert.numbers)] = expert.numbers[:, 1:].T
        place = Place(file=file.path, view=int(view), landmark=int(landmark))
        target[:, : len(expert.numbers)] = fit_into(weights.dtype, expert.scaled_weights().T, place)
    return CCNFExperts(
        scale=views.scale,
        support=file.support,
        view_centers=torch.from_numpy(np.deg2rad(views.centers)),
        visible=torch.from_numpy(views.visible),
        confidence=torch.from_numpy(confidence),
        weights=weights,
        biases=torch.from_numpy(numbers[0]),
        alphas=torch.from_numpy(numbers[1]),
        betas=torch.from_numpy(np.array([expert.betas for expert in experts]).reshape(len(experts), file.betas)),
        components=components,
    ).to_record()
