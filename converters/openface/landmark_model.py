"""A landmark model: all of its files as the ``model`` of a bundle."""

from typing import Any

from clnf_torch.converters.openface.early_termination import convert_early_termination
from clnf_torch.converters.openface.expert_files import convert_experts
from clnf_torch.converters.openface.model_files import ModelFiles
from clnf_torch.converters.openface.parts import part_record
from clnf_torch.converters.openface.pdm import convert_pdm
from clnf_torch.converters.openface.triangulations import convert_triangulations


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
    return {
        "pdm": pdm,
        "triangulations": convert_triangulations(triangulations, points) if triangulations else [],
        "early_termination": convert_early_termination(early, views) if early else None,
        "experts": experts,
        "parts": [part_record(line, points, convert_landmark_model(part, half)) for line, part in files.parts],
    }
