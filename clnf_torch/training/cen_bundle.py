"""A bundle of CEN experts that were trained here: the same fields as one that was converted."""

from collections.abc import Mapping, Sequence
from typing import Any

import clnf_torch
from clnf_torch.models.bundle import build_model, bundle_of
from clnf_torch.training.bundles import RESEARCH_USE
from clnf_torch.training.calibration import with_early_termination
from clnf_torch.training.crops import FaceCrops


def cen_bundle(
    model: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], licence: str = RESEARCH_USE
) -> dict[str, Any]:
    """The fields of a bundle around a model.

    Args:
        model: From `train_cen`.
        sources: What it was made from: records with a ``name``.
        licence: The terms of its use.
    """
    writer = f"clnf_torch {clnf_torch.__version__}"
    return bundle_of(model, writer=writer, licence=licence, numerics="exact", sources=sources)


def calibrated(model: Mapping[str, Any], unseen: FaceCrops, seed: int = 0) -> dict[str, Any]:
    """A model's record with early-termination numbers from its fits of faces that it was not trained on.

    A model of one scale, or one that failed nowhere or everywhere, stays without.
    """
    if len(model["experts"]) < 2:
        return dict(model)
    rules = with_early_termination(build_model({"model": model}), unseen, seed).early_termination
    numbers = None if rules is None else {name: value.double().cpu() for name, value in vars(rules).items()}
    return {**model, "early_termination": numbers}
