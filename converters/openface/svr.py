"""SVR patch experts (``svr_patches_*.txt``): what a file holds, and its record in a bundle."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clnf_torch.converters.openface.binary import FLOAT32, FLOAT64, INT32
from clnf_torch.converters.openface.errors import ConversionError, Place
from clnf_torch.converters.openface.text import TextReader, shape_text
from clnf_torch.converters.openface.views import Views, check_center, check_scale, check_visibility, fit_into
from clnf_torch.models.patch_experts.svr import SVRExperts

# Begin every expert and every modality
MARKER, MODALITY_MARKER = 3, 2
# By the file's number
MODALITIES = ("raw", "gradient")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ModalityExpert:
    """The part of an expert for one modality. OpenFace ``SVR_patch_expert``.

    Attributes:
        modality: Index into ``MODALITIES``.
        confidence: How far it is to be trusted.
        scaling: Multiplies the correlation.
        bias: Added to it.
        weights: The template as in the file, columns along y, (S, S).
    """

    modality: int
    confidence: float
    scaling: float
    bias: float
    weights: NDArray[np.float32]


def read_expert(reader: TextReader, first: tuple[ModalityExpert, ...] | None) -> tuple[ModalityExpert, ...]:
    """Reads one expert.

    Args:
        reader: The file, at the expert's marker.
        first: The file's first expert, whose size and modalities the others share; None when this is it.

    Returns:
        Its modalities, at least one.

    Raises:
        ConversionError: It is damaged, or unlike the first one.
    """
    start = reader.offset
    _read_marker(reader, MARKER, "an expert's marker")
    support = len(first[0].weights) if first else None
    width, height = reader.integer("an expert's width", 1), reader.integer("an expert's height", 1)
    if width != height or support not in (None, width):
        side = support or "S"
        expected = f"an expert of {side} x {side} pixels, as all of a file are"
        raise ConversionError(reader.place_of(start + 1), expected=expected, found=f"{width} x {height}")
    count = reader.integer("an expert's number of modalities", 1)
    reader.require_numbers(count * (8 + width * width), f"{count} modalities of {width} x {width} pixels")
    expert = tuple(_read_modality(reader, f"modality {k + 1} of {count}", width) for k in range(count))
    modalities, others = ([part.modality for part in parts] for parts in (expert, first or expert))
    if modalities != others:
        expected = f"modalities of types {others}, as all experts of a file have"
        raise ConversionError(reader.place_of(start + 1), expected=expected, found=str(modalities))
    return expert


def _read_modality(reader: TextReader, name: str, support: int) -> ModalityExpert:
    """One modality of an expert."""
    _read_marker(reader, MODALITY_MARKER, f"the marker of {name}")
    modality = reader.integer(f"the type of {name}", 0)
    if modality >= len(MODALITIES):
        expected = f"a type of {name} from 0 to {len(MODALITIES) - 1}"
        raise ConversionError(reader.place, expected=expected, found=str(modality))
    confidence, scaling, bias = (reader.number(f"the {word} of {name}") for word in ("confidence", "scaling", "bias"))
    place: Place = reader.place
    weights = reader.matrix_here(f"the weights of {name}", codes=(FLOAT32,))
    if weights.shape != (support, support):
        expected = f"weights of {name}, {support} x {support}"
        raise ConversionError(place, expected=expected, found=shape_text(weights))
    reader.end_line(f"the weights of {name}")
    return ModalityExpert(
        modality=modality, confidence=confidence, scaling=scaling, bias=bias, weights=weights.astype(np.float32)
    )


def _read_marker(reader: TextReader, marker: int, what: str) -> None:
    """Refuses another word than a marker."""
    found = reader.integer(what, -(2**31))
    if found != marker:
        raise ConversionError(reader.place, expected=f"{what} ({marker})", found=str(found))


# OpenFace: a template of less variance correlates perfectly with everything
FLAT = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True, eq=False)
class SvrFile:
    """What an SVR file holds.

    Attributes:
        path: The file.
        views: Scale, view centres and visibilities.
        support: Side S of the square that an expert looks at, pixels.
        modalities: Names of the modalities of every expert, in order.
        experts: The experts of visible landmarks, by view and landmark.
    """

    path: Path
    views: Views
    support: int
    modalities: tuple[str, ...]
    experts: dict[tuple[int, int], tuple[ModalityExpert, ...]]

    @property
    def num_views(self) -> int:
        """Number of views V."""
        return len(self.views.centers)

    @property
    def scale(self) -> float:
        """Pixels per millimetre."""
        return self.views.scale


def read_svr(path: Path, points: int) -> SvrFile:
    """Reads an SVR file.

    Args:
        path: The file.
        points: Number of landmarks N of the PDM.

    Returns:
        The file's contents.

    Raises:
        ConversionError: The file is anything but a complete SVR file for N landmarks.

    Source:
        OpenFace ``Patch_experts::Read_SVR_patch_experts``.
    """
    reader = TextReader.open(path, "SVR patch experts")
    views = _read_views(reader, points)
    reader.skip_comments()
    experts: dict[tuple[int, int], tuple[ModalityExpert, ...]] = {}
    first: tuple[ModalityExpert, ...] | None = None
    for view, landmark in np.ndindex(views.visible.shape):
        reader.view, reader.landmark = view, landmark
        expert = read_expert(reader, first)
        first = first or expert
        if views.visible[view, landmark]:
            experts[view, landmark] = expert
    reader.view = reader.landmark = None
    reader.expect_end("the last expert")
    assert first is not None
    names = tuple(MODALITIES[part.modality] for part in first)
    return SvrFile(path=path, views=views, support=len(first[0].weights), modalities=names, experts=experts)


def _read_views(reader: TextReader, points: int) -> Views:
    """Scale, view centres and visibilities, each after its comment lines."""
    reader.skip_comments()
    place = reader.place
    scale = check_scale(reader.number("the patch scaling"), place)
    reader.end_line("the patch scaling")
    reader.skip_comments()
    place = reader.place
    count = reader.integer("the number of views", 1)
    # A view has two matrices of at least four numbers
    if 16 * count > len(reader.content) - reader.offset:
        raise ConversionError(place, expected="a number of views that the file can hold", found=str(count))
    reader.end_line("the number of views")
    centers, visible = [], []
    for reader.view in range(count):
        place, values = _read_vector(reader, "a view centre", FLOAT64, 3)
        centers.append(check_center(values, place))
    for reader.view in range(count):
        place, values = _read_vector(reader, "the landmarks' visibility", INT32, points)
        visible.append(check_visibility(values, place))
    reader.view = None
    return Views(scale=scale, centers=np.stack(centers), visible=np.stack(visible))


def _read_vector(reader: TextReader, what: str, code: int, length: int) -> tuple[Place, NDArray[np.float64]]:
    """A matrix of one row or column (length,), and the line of its header."""
    reader.skip_comments()
    place, values = reader.place, reader.matrix(what, codes=(code,))
    if 1 not in values.shape or values.size != length:
        raise ConversionError(place, expected=f"{what}, {length} values", found=f"a {shape_text(values)} matrix")
    return place, values.reshape(-1)


def convert_svr(files: list[SvrFile], half: bool) -> list[dict[str, Any]]:
    """The scales' experts as records of the bundle.

    Args:
        files: What the files hold, coarse to fine.
        half: Whether to store the experts' weights as float16.

    Returns:
        A record for each file.

    Raises:
        ConversionError: A number cannot be stored.
    """
    return [_record(file, half) for file in files]


def _record(file: SvrFile, half: bool) -> dict[str, Any]:
    """One scale's experts as a record of the bundle."""
    views, many = file.views, len(file.modalities)
    confidence = np.zeros(views.visible.shape)
    scalings, biases = np.zeros((2, len(file.experts), many))
    kind = torch.float16 if half else torch.float32
    weights = torch.zeros(len(file.experts), file.support**2, many, dtype=kind, device="cpu")
    for row, ((view, landmark), expert) in enumerate(file.experts.items()):
        place = Place(file=file.path, view=view, landmark=landmark)
        confidence[view, landmark] = fit_into(torch.float32, np.array(sum(part.confidence for part in expert)), place)
        for k, part in enumerate(expert):
            template, bias = _normalise(part)
            weights.numpy()[row, :, k] = template
            scalings[row, k], biases[row, k] = part.scaling, fit_into(torch.float32, np.array(bias), place)
    return SVRExperts(
        scale=views.scale,
        support=file.support,
        view_centers=torch.from_numpy(np.deg2rad(views.centers)),
        visible=torch.from_numpy(views.visible),
        confidence=torch.from_numpy(confidence),
        weights=weights,
        scalings=torch.from_numpy(scalings),
        biases=torch.from_numpy(biases),
        modalities=file.modalities,
    ).to_record()


def _normalise(part: ModalityExpert) -> tuple[NDArray[np.float64], float]:
    """The template (S * S,), pixels row by row, minus its mean, divided by its length; and the bias.

    OpenFace: the file's matrices are transposed, their rows are columns of the image.
    """
    template = part.weights.astype(np.float64).T.reshape(-1)
    template = template - template.mean()
    if np.square(template).mean() < FLAT:
        return np.zeros_like(template), part.bias + part.scaling
    return template / np.linalg.norm(template), part.bias
