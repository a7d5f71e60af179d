"""What a bundle must be: its own fields, the validator, the face detector, and the eraser of pen marks."""

import math
from collections.abc import Mapping
from typing import Any

from clnf_torch.models.array_schema import WHOLE, Array
from clnf_torch.models.eraser_network import EraserNetwork
from clnf_torch.models.landmark_model import Families
from clnf_torch.models.layer_schema import MOST_CHANNELS, check_network
from clnf_torch.models.model_schema import check_model
from clnf_torch.models.plugins import FACE_DETECTORS, registered
from clnf_torch.models.schema import Context, Fields, Number, OneOf, Schema, SchemaError, Several, Text, found, refuse

# Orientations of a validator, the side of its images, and its scores
MOST_VIEWS, LARGEST_SIDE, MOST_SCORES = 64, 512, 1000
# Characters of a licence
LICENCE = Text(100_000)
# Of a pixel of the validator's images, which is divided by it
LEAST_DEVIATION = 1e-6
# What the networks of MTCNN look at, and how many numbers the program uses of each answer
MTCNN_SIDES, MTCNN_NUMBERS = {"pnet": 12, "rnet": 24, "onet": 48}, 6
# Networks of BlazeFace, and what its keypoints become: four sides of thirteen numbers each
BLAZEFACE_NETWORKS, BLAZEFACE_MAP = ("short_range", "full_range"), (4, 13)
MOST_WEIGHTS = 1024

SOURCE = Fields(
    {"name": Text()},
    {"bytes": Number(0, 2**60, whole=True), "sha256": Text(64), "published": OneOf((True, False, None))},
)
TOP = Fields(
    {},
    {
        "writer": Text(),
        "licence": LICENCE,
        "numerics": OneOf(("openface", "exact")),
        "sources": Several(SOURCE, most=1 << 16),
        "skipped": Several(Fields({"entry": Text(), "reason": Text(10_000)}), most=1 << 12),
    },
)


def check_bundle(bundle: Mapping[str, Any], context: Context, families: Families) -> None:
    """Refuses a bundle that is not what it should be, before anything is made of it.

    Args:
        bundle: The values in the file.
        context: What is known already.
        families: The families of experts that may be in it.

    Raises:
        SchemaError: Something in it is not what it should be.
        ValueError: Layers do not chain, or a kind is not known.
    """
    TOP.check(bundle, "the bundle", context)
    landmarks = context.inner()
    if "model" in bundle:
        check_model(bundle["model"], "model", landmarks, families)
    if bundle.get("validator") is not None:
        check_validator(bundle["validator"], "validator", landmarks)
    if bundle.get("face_detector") is not None:
        check_face_detector(bundle["face_detector"], "face_detector", context)
    if bundle.get("pen_mark_eraser") is not None:
        EraserNetwork.check_record(bundle["pen_mark_eraser"], "pen_mark_eraser", context.inner())


def check_validator(record: Any, where: str, context: Context) -> None:
    """Refuses what is no record of ``DetectionValidator.record``; N is known if there is a model."""
    _check_kind(record, where, "cnn")
    side = Number(1, LARGEST_SIDE, whole=True)
    fields: dict[str, Schema] = {"size": Several(side, 2, 2), "orientations": Array("V", 3, longest=MOST_VIEWS)}
    own = context.inner()
    Fields(fields).check(record, where, own)
    views, size = record.get("views"), tuple(record["size"])
    if not isinstance(views, (list, tuple)) or len(views) != own.sizes["V"]:
        raise refuse(f"{where}.views", f"a list of {own.sizes['V']} views", views)
    for number, view in enumerate(views):
        _check_view(view, f"{where}.views[{number}]", size, context)


def _check_view(record: Any, where: str, size: tuple[int, ...], context: Context) -> None:
    """Refuses what is no record of ``ViewValidator.record``."""
    last = context.sizes.get("N", 1 << 20) - 1
    warp = {
        "triangles": Array("T", 3, dtypes=WHOLE, low=0, high=last),
        "alpha": Array("T", 3),
        "beta": Array("T", 3),
        "origin": Array(2),
        "pixels": Array("P", dtypes=WHOLE, low=0, high=math.prod(size) - 1),
        "mean": Array("P"),
        "deviation": Array("P", low=LEAST_DEVIATION),
    }
    own = context.inner()
    Fields(warp).check(record, where, own)
    triangle = Array("P", dtypes=WHOLE, low=0, high=own.sizes["T"] - 1)
    Fields({"triangle": triangle}).check(record, where, own)
    answer = check_network(record.get("layers"), f"{where}.layers", (1, *size), context)
    if len(answer) != 1 or answer[0] > MOST_SCORES:
        raise SchemaError(f"{where}.layers: expected a network of at most {MOST_SCORES} scores, found maps {answer}")


def check_face_detector(record: Any, where: str, context: Context) -> None:
    """Refuses what is no record of one of our detectors, nor of one that another package registers."""
    if isinstance(record, dict) and record.get("kind") == "blazeface":
        return _check_blazeface(record, where, context)
    other = registered(FACE_DETECTORS, record["kind"]) if _is_of_other_kind(record) else None
    if other is not None and hasattr(other, "check_record"):
        other.check_record(record, where, context)
        return
    _check_kind(record, where, "mtcnn")
    probability, factor = Number(0, 1), Number(-10, 10)
    config: dict[str, Schema] = {
        "min_face": Number(12, 1e5),
        "thresholds": Several(probability, 3, 3),
        "factor": Number(0.3, 0.95),
    }
    others = {"config": Fields({}, config), "to_landmarks": Several(factor, 4, 4), "licence": LICENCE}
    Fields({}, others).check(record, where, context)
    unknown = sorted(str(name)[:40] for name in set(record.get("config", {})) - set(config))
    if unknown:
        raise SchemaError(f"{where}.config: expected {', '.join(config)}, found {unknown[0]!r}")
    for name, side in MTCNN_SIDES.items():
        here, network = f"{where}.{name}", record.get(name)
        if not isinstance(network, dict):
            raise refuse(here, "a dictionary of layers", network)
        answer = check_network(network.get("layers"), f"{here}.layers", (3, side, side), context)
        exact = name != "onet"
        if math.prod(answer[1:]) != 1 or answer[0] < MTCNN_NUMBERS or (exact and answer[0] > MTCNN_NUMBERS):
            raise SchemaError(f"{here}: expected {MTCNN_NUMBERS} numbers for {side} x {side} pixels, found {answer}")


def _check_blazeface(record: dict[str, Any], where: str, context: Context) -> None:
    """Refuses what is no record of ``BlazeFace.to_record``; whether weights are a network's, the detector knows."""
    share = Number(0.001, 0.999)
    config: dict[str, Schema] = {"network": OneOf(BLAZEFACE_NETWORKS), "threshold": share, "max_iou": share}
    Fields({}, {"config": Fields({}, config), "licence": LICENCE}).check(record, where, context)
    unknown = sorted(str(name)[:40] for name in set(record.get("config", {})) - set(config))
    if unknown:
        raise SchemaError(f"{where}.config: expected {', '.join(config)}, found {unknown[0]!r}")
    networks = record.get("networks")
    if not isinstance(networks, dict) or not networks or not set(networks) <= set(BLAZEFACE_NETWORKS):
        raise refuse(f"{where}.networks", f"a dictionary of {' or '.join(BLAZEFACE_NETWORKS)}", networks)
    for name, network in networks.items():
        here = f"{where}.networks.{name}"
        Fields({"to_landmarks": Array(*BLAZEFACE_MAP)}).check(network, here, context)
        weights = network.get("weights")
        if not isinstance(weights, dict) or not 1 <= len(weights) <= MOST_WEIGHTS:
            raise refuse(f"{here}.weights", f"a dictionary of 1 to {MOST_WEIGHTS} tensors", weights)
        for key, value in weights.items():
            axes = len(getattr(value, "shape", ()))
            sizes = (f"axis {axis}" for axis in range(min(axes, 4)))
            Array(*sizes, longest=MOST_CHANNELS).check(value, f"{here}.weights.{str(key)[:60]}", context.inner())


def _is_of_other_kind(record: Any) -> bool:
    """Whether a record may be that of another face detector than MTCNN."""
    return isinstance(record, dict) and isinstance(record.get("kind"), str) and record["kind"] != "mtcnn"


def _check_kind(record: Any, where: str, known: str) -> None:
    """Refuses other kinds than the one this program knows."""
    if not isinstance(record, dict):
        raise refuse(where, f"a dictionary of kind {known!r}", record)
    if not isinstance(record.get("kind"), str) or record["kind"] != known:
        raise SchemaError(
            f"{where}: is of kind {found(record.get('kind'))}, this program knows {known!r}; use a newer version"
        )
