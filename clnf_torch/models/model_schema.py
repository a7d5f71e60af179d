"""What the record of a landmark model must be: its shape, its experts from coarse to fine, and its parts."""

from dataclasses import replace
from typing import Any

from clnf_torch.models.array_schema import WHOLE, Array
from clnf_torch.models.depth_shape import DepthShape
from clnf_torch.models.gaze_network import GazeNetwork
from clnf_torch.models.landmark_error import LandmarkErrorModel
from clnf_torch.models.landmark_model import EARLY_TERMINATION, REPEAT, Families, family_of
from clnf_torch.models.pdm import PDM
from clnf_torch.models.refinement import Refinement
from clnf_torch.models.schema import (
    Context,
    Fields,
    Maybe,
    Number,
    OneOf,
    SchemaError,
    Several,
    Text,
    field,
    found,
    refuse,
)

# Scales and parts of a model, and how deep parts have parts, beyond those of any model
MOST_SCALES, MOST_PARTS, DEEPEST = 16, 16, 2


def check_model(record: Any, where: str, context: Context, families: Families, depth: int = 0) -> None:
    """Refuses what is no record of ``LandmarkModel.to_record``; the number N of landmarks is known afterwards.

    Args:
        record: The record.
        where: How it is reached, for messages.
        context: What is known already.
        families: The families of experts that may be in it.
        depth: How many models this one is a part of.

    Raises:
        SchemaError: Something in it is not what it should be.
        ValueError: The layers of experts do not chain, or a family is not known.
    """
    if not isinstance(record, dict):
        raise refuse(where, "a dictionary of pdm, experts and more", record)
    PDM.check_record(field(record, "pdm", where), f"{where}.pdm", context)
    experts = field(record, "experts", where)
    views = _check_experts(experts, f"{where}.experts", context, families)
    triangles = Array("T", 3, dtypes=WHOLE, low=0, high=context.sizes["N"] - 1, shortest=0)
    early = Fields({name: Array("V") for name in EARLY_TERMINATION})
    others = {"triangulations": Several(triangles), "early_termination": Maybe(early)}
    Fields(others).check(record, where, context.inner(V=views))
    if record.get("refinement") is not None:
        Refinement.check_record(record["refinement"], f"{where}.refinement", context.inner(), len(experts))
    if record.get("error_model") is not None:
        LandmarkErrorModel.check_record(record["error_model"], f"{where}.error_model", context.inner())
    if record.get("depth_shape") is not None:
        DepthShape.check_record(record["depth_shape"], f"{where}.depth_shape", context.inner())
    if record.get("gaze_network") is not None:
        GazeNetwork.check_record(record["gaze_network"], f"{where}.gaze_network", context.inner())
    parts, most = record.get("parts", ()), MOST_PARTS if depth < DEEPEST else 0
    if not isinstance(parts, (list, tuple)) or len(parts) > most:
        raise refuse(f"{where}.parts", f"a list of at most {most} parts", parts)
    for number, part in enumerate(parts):
        _check_part(part, f"{where}.parts[{number}]", context, families, depth + 1)


def _check_part(record: Any, where: str, context: Context, families: Families, depth: int) -> None:
    """Refuses what is no record of ``Part.to_record``."""
    own, model = replace(context, sizes={}), replace(context, sizes={})
    in_parent = Array("K", dtypes=WHOLE, low=0, high=context.sizes["N"] - 1)
    # Bundles of older versions do not have them
    optional = {"folds_back": OneOf((True, False))}
    Fields({"name": Text(100), "in_parent": in_parent}, optional).check(record, where, own)
    check_model(field(record, "model", where), f"{where}.model", model, families, depth)
    in_part = Array("K", dtypes=WHOLE, low=0, high=model.sizes["N"] - 1)
    Fields({"in_part": in_part}).check(record, where, own)


def _check_experts(scales: Any, where: str, context: Context, families: Families) -> int:
    """Refuses what are no records of experts, coarse to fine; the number of views of the first ones."""
    if not isinstance(scales, (list, tuple)) or not 1 <= len(scales) <= MOST_SCALES:
        raise refuse(where, f"a list of 1 to {MOST_SCALES} scales", scales)
    views, before = 0, 0.0
    for number, record in enumerate(scales):
        here, own = f"{where}[{number}]", context.inner()
        record = _check_scale(record, here, scales[:number], own, families)
        views = views or own.sizes["V"]
        if record["scale"] < before:
            raise SchemaError(
                f"{here}: expected scales from coarse to fine, found {record['scale']:g} after {before:g}"
            )
        before = record["scale"]
    return views


def _check_scale(record: Any, where: str, earlier: Any, context: Context, families: Families) -> dict[str, Any]:
    """Refuses what is no record of experts, or of a repetition of earlier ones; the record of the experts."""
    if not isinstance(record, dict) or not isinstance(record.get("family"), str):
        raise refuse(where, "a dictionary with the name of a family", record)
    if record["family"] != REPEAT:
        family_of(record, families).check_record(record, where, context)
        return record
    Fields({"of": Number(0, len(earlier) - 1, whole=True)}).check(record, where, context)
    repeated: dict[str, Any] = earlier[record["of"]]
    if repeated["family"] == REPEAT:
        raise SchemaError(
            f"{where}.of: expected experts of their own, found {found(repeated['of'])}, which repeat others"
        )
    return repeated
