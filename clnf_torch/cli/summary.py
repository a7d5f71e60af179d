"""A bundle in words, for ``convert`` and ``info``."""

import math
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from clnf_torch.models.bundle import build_model

PUBLISHED = {True: "published by OpenFace", False: "not a published file", None: "no published hash known"}


def describe(bundle: Mapping[str, Any], path: Path) -> Iterator[str]:
    """Lines that say what a bundle holds.

    Args:
        bundle: From ``load_bundle``.
        path: Its file.

    Yields:
        One line at a time.

    Raises:
        BundleError: Its fields do not make a model.
    """
    build_model(bundle)  # what follows describes a model that works
    model = bundle["model"]
    yield f"{path}: {bundle['format']}, version {bundle['version']}, {path.stat().st_size / 1e6:,.1f} MB"
    yield f"  written by         {bundle.get('writer', 'an unknown program')}"
    yield f"  numerics           {bundle.get('numerics', 'openface')}"
    yield f"  shape model        {len(model['pdm']['mean'])} landmarks, {len(model['pdm']['modes'])} modes"
    yield f"  triangulations     {_or_none(len(model['triangulations']), 'views')}"
    early = model["early_termination"]
    yield f"  early termination  {_or_none(len(early['cutoffs']) if early else 0, 'views')}"
    for record in model["experts"]:
        yield from _describe_experts(record)
    for part in model.get("parts", ()):
        yield from _describe_part(part)
    yield f"  validation         {_describe_validator(bundle.get('validator'))}"
    face_detector = bundle.get("face_detector")
    yield f"  face detector      {face_detector['kind'].upper() if face_detector else 'none: give boxes'}"
    words = textwrap.wrap(bundle.get("licence", "not stated"), width=90)
    yield f"  licence            {words[0]}"
    yield from (f"                     {line}" for line in words[1:])


def describe_sources(bundle: Mapping[str, Any]) -> Iterator[str]:
    """Lines that say which files a bundle was made from, and what of them is not in it.

    Args:
        bundle: From ``load_bundle``.

    Yields:
        One line at a time.
    """
    for skipped in bundle.get("skipped", ()):
        yield f"  skipped            {skipped['entry']}: {skipped['reason']}"
    for source in bundle.get("sources", ()):
        if "sha256" not in source:  # a set of annotated faces, not a file
            yield f"  trained on         {source['name']}"
            continue
        yield f"  source             {source['name']}, {source['bytes']:,} bytes, {PUBLISHED[source['published']]}"
        yield f"                     sha256 {source['sha256']}"


def _describe_experts(record: Mapping[str, Any]) -> Iterator[str]:
    """Lines on the experts of one scale."""
    if record["family"] == "repeat":
        yield f"  experts again      those of scale {record['of'] + 1}"
        return
    family, views = record["family"].upper(), len(record["visible"])
    support = record["width"] if family == "JOINT" else record["support"]
    yaws = ", ".join(f"{math.degrees(center[1]):.0f}" for center in record["view_centers"].tolist())
    yield f"  experts at {record['scale']:<8g}{family}, {support} x {support} px, {views} views at yaw {yaws}"
    yield from (f"                     {line}" for line in _DETAILS[record["family"]](record))


def _describe_part(part: Mapping[str, Any]) -> Iterator[str]:
    """A line on a part of the face."""
    model = part["model"]
    landmarks, family = len(model["pdm"]["mean"]), model["experts"][0]["family"].upper()
    scales = ", ".join(f"{record['scale']:g}" for record in model["experts"])
    yield f"  part               {part['name']}: {landmarks} landmarks, {family} at {scales}"


def _describe_validator(record: Mapping[str, Any] | None) -> str:
    """What judges the landmarks."""
    if record is None:
        return "none: every fit that does not fail succeeds"
    yaws = ", ".join(f"{math.degrees(orientation[1]):.0f}" for orientation in record["orientations"].tolist())
    return f"{record['kind'].upper()}, {len(record['views'])} views at yaw {yaws}"


def _describe_cen(record: Mapping[str, Any]) -> Iterator[str]:
    """What CEN experts are made of."""
    used, mirrored = int(record["visible"].sum()), int(record["flipped"].sum())
    stored = sum(len(stack["weights"][0]) for stack in record["stacks"])
    yield f"{stored} stored experts serve {used} landmarks over all views, {mirrored} mirrored"
    for stack in record["stacks"]:
        widths = [weights.shape[1] for weights in stack["weights"]] + [stack["weights"][-1].shape[2]]
        layers = "-".join(map(str, widths))
        yield f"{len(stack['weights'][0])} x {layers}, {' '.join(stack['activations'])}, {_type(stack['weights'][0])}"


def _describe_ccnf(record: Mapping[str, Any]) -> Iterator[str]:
    """What CCNF experts are made of."""
    experts, _, neurons = record["weights"].shape
    yield f"{experts} experts over all views, {neurons} neurons each, {_type(record['weights'])}"
    yield f"smoothed windows: {', '.join(map(str, sorted(record['components']))) or 'none'}"


def _describe_svr(record: Mapping[str, Any]) -> Iterator[str]:
    """What SVR experts are made of."""
    experts, kind = len(record["weights"]), _type(record["weights"])
    yield f"{experts} experts over all views, modalities {' and '.join(record['modalities'])}, {kind}"


def _describe_joint(record: Mapping[str, Any]) -> Iterator[str]:
    """What joint experts are made of."""
    numbers = sum(weights.numel() for weights in record["network"].values())
    channels = "-".join(map(str, record["widths"]))
    kind = _type(next(iter(record["network"].values())))
    yield f"one network for {len(record['visible'][0])} landmarks, {channels} channels, {numbers:,} weights, {kind}"


_DETAILS = {"joint": _describe_joint, "cen": _describe_cen, "ccnf": _describe_ccnf, "svr": _describe_svr}


def _type(weights: Tensor) -> str:
    """The number type of weights."""
    return str(weights.dtype).removeprefix("torch.")


def _or_none(count: int, unit: str) -> str:
    """A count with its unit, or none."""
    return f"{count} {unit}" if count else "none"
