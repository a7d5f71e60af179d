"""A landmark model: all of its files as the ``model`` of a bundle."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.converters.openface.binary import INT32
from clnf_torch.converters.openface.errors import ConversionError
from clnf_torch.converters.openface.expert_files import convert_experts
from clnf_torch.converters.openface.model_files import ModelFiles
from clnf_torch.converters.openface.parts import part_record
from clnf_torch.converters.openface.pdm import convert_pdm
from clnf_torch.converters.openface.text import TextReader, matrix_text, number_line, shape_text
from clnf_torch.models.landmark_model import EARLY_TERMINATION, LandmarkModel, early_termination_record


def convert_early_termination(path: Path, views: int) -> dict[str, Tensor]:
    """Reads the numbers of early termination.

    Args:
        path: The file: weights, biases and cutoffs of all views, one after the other.
        views: Number of views V of the patch experts.

    Returns:
        ``weights``, ``biases`` and ``cutoffs``, each (V,) float64.

    Raises:
        ConversionError: The file does not hold 3 V finite numbers.

    Source:
        OpenFace ``Read_CLNF``.
    """
    what = f"early termination's weights, biases and cutoffs of {views} views"
    reader = TextReader.open(path, what)
    values = torch.from_numpy(reader.numbers(3 * views, what))
    reader.expect_end(f"{3 * views} numbers ({what})")
    return early_termination_record(values.reshape(3, views).clone())


def convert_triangulations(path: Path, points: int) -> list[Tensor]:
    """Reads the triangulations.

    Args:
        path: The file.
        points: Number of landmarks N of the PDM.

    Returns:
        One (T, 3) int64 tensor of landmark numbers for each view.

    Raises:
        ConversionError: The file is incomplete, or a corner is no landmark.

    Source:
        OpenFace ``Read_CLNF``.
    """
    reader = TextReader.open(path, "triangulations")
    reader.skip_comments()
    count = reader.integer("the number of triangulations", 0)
    triangulations = [_triangles(reader, view, points) for view in range(count)]
    reader.expect_end(f"{count} triangulations")
    return triangulations


def _triangles(reader: TextReader, view: int, points: int) -> Tensor:
    """The triangles of one view, (T, 3) int64."""
    reader.skip_comments()
    start, triangles = reader.offset, reader.matrix(f"triangulation {view}", codes=(INT32,))
    if triangles.shape[1] != 3:
        raise ConversionError(
            reader.place_of(start), expected="triangles of 3 corners", found=f"a {shape_text(triangles)} matrix"
        )
    if triangles.min() < 0 or triangles.max() >= points:
        found = f"{triangles.min():g} to {triangles.max():g}"
        raise ConversionError(reader.place_of(start), expected=f"corners from 0 to {points - 1}", found=found)
    return torch.from_numpy(triangles).to(torch.int64)


def triangulations_text(triangulations: Sequence[Tensor]) -> str:
    """The triangulation file of a bundle's ``triangulations``, one for each view."""
    views = "".join("# Triangles\n" + matrix_text(triangles.numpy(), INT32) for triangles in triangulations)
    return f"# The number of views\n{len(triangulations)}\n{views}"


def early_termination_text(rules: Mapping[str, Tensor]) -> str:
    """The file of a bundle's ``early_termination``: weights, biases and cutoffs of the views, a line each."""
    return "".join(number_line(rules[name].double().numpy()) for name in EARLY_TERMINATION)


def convert_landmark_model(files: ModelFiles, half: bool) -> dict[str, Any]:
    """Reads a landmark model and its parts; CEN weights stay in their files until they are written.

    Args:
        files: Its files.
        half: Whether to store the experts' weights as float16.

    Returns:
        The ``model`` of a bundle.

    Raises:
        ConversionError: A file is not what it should be, or does not go with the others.
    """
    pdm = convert_pdm(files.pdm)
    points = len(pdm["mean"])
    experts = convert_experts(files.experts, points, half)
    views = len(experts[0]["view_centers"])
    early, triangulations = files.early_termination, files.triangulations
    return LandmarkModel.record(
        pdm=pdm,
        experts=experts,
        early_termination=convert_early_termination(early, views) if early else None,
        triangulations=convert_triangulations(triangulations, points) if triangulations else [],
        parts=[part_record(line, points, convert_landmark_model(part, half)) for line, part in files.parts],
    )
