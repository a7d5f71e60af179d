"""``clnf-torch info``: what a bundle contains."""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from clnf_torch.cli.console import failures_exit_with, say
from clnf_torch.cli.streams import require_stdout
from clnf_torch.fitting import compiled
from clnf_torch.models.bundle import FAMILIES, build_model, load_bundle
from clnf_torch.models.landmark_model import REPEAT, LandmarkModel, family_of

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
    # Whatever is described works
    landmark_model = build_model(bundle) if "model" in bundle else None
    yield f"{path}: {bundle['format']}, version {bundle['version']}, {path.stat().st_size / 1e6:,.1f} MB"
    yield f"  written by         {bundle.get('writer', 'an unknown program')}"
    if landmark_model is not None:
        yield f"  numerics           {bundle.get('numerics', 'openface')}"
        yield from _describe_model(bundle["model"], landmark_model)
        yield f"  validation         {_describe_validator(bundle.get('validator'))}"
    face_detector = bundle.get("face_detector")
    if face_detector or landmark_model is not None:
        yield f"  face detector      {face_detector['kind'].upper() if face_detector else 'none: give boxes'}"
    if bundle.get("pen_mark_eraser"):
        yield "  pen marks          erased by a network that sees faces in colour"
    words = textwrap.wrap(bundle.get("licence", ""), width=90) or ["not stated"]
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
        # A set of annotated faces, not a file
        if not {"sha256", "bytes", "published"} <= set(source):
            yield f"  trained on         {source['name']}"
            continue
        yield f"  source             {source['name']}, {source['bytes']:,} bytes, {PUBLISHED[source['published']]}"
        yield f"                     sha256 {source['sha256']}"


def describe_loops() -> str:
    """A line that says on which devices of this machine fits run as compiled loops, and why not on others."""
    obstacles = {kind: compiled.obstacle(kind) for kind in compiled.DEVICE_TYPES}
    words = (f"{kind}: no, {reason}" if reason else f"{kind}: yes" for kind, reason in obstacles.items())
    return f"  compiled loops     {'; '.join(words)}"


def _describe_model(record: Mapping[str, Any], model: LandmarkModel) -> Iterator[str]:
    """Lines on a landmark model, of which a bundle holds a record."""
    yield f"  shape model        {len(record['pdm']['mean'])} landmarks, {len(record['pdm']['modes'])} modes"
    yield f"  triangulations     {_views(len(record['triangulations']))}"
    early = record["early_termination"]
    yield f"  early termination  {_views(len(early['cutoffs']) if early else 0)}"
    for experts in record["experts"]:
        yield from _describe_experts(experts, record["experts"])
    for part in record.get("parts", ()):
        yield from _describe_part(part)
    if record.get("gaze_network"):
        yield "  gaze               by a network that sees both eyes and the face around them"
    if model.refinement is not None:
        scales = model.refinement.scales
        responses = "the responses" if scales == 1 else f"{scales} scales' responses"
        yield f"  refinement         landmarks are means of the fitted shape and of the centroids of {responses}"
    if record.get("depth_shape"):
        modes, anchors = len(record["depth_shape"]["pdm"]["modes"]), len(record["depth_shape"]["anchors"])
        yield f"  depth shape        {modes} modes, placed by {anchors} landmarks: depths and head poses are its"


def _describe_experts(record: Mapping[str, Any], scales: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines on the experts of one of a model's scales."""
    if record["family"] == REPEAT:
        yield f"  experts again      those at {scales[record['of']]['scale']:g} once more"
        return
    family = family_of(record, FAMILIES)
    looked_at, *details = family.describe(record)
    yield f"  experts at {record['scale']:<8g}{family.name.upper()}, {looked_at}, {_views_at(record['view_centers'])}"
    yield from (f"                     {line}" for line in details)


def _describe_part(part: Mapping[str, Any]) -> Iterator[str]:
    """A line on a part of the face."""
    model = part["model"]
    landmarks, family = len(model["pdm"]["mean"]), model["experts"][0]["family"].upper()
    scales = ", ".join(f"{record['scale']:g}" for record in model["experts"] if record["family"] != REPEAT)
    yield f"  part               {part['name']}: {landmarks} landmarks, {family} at {scales}"


def _describe_validator(record: Mapping[str, Any] | None) -> str:
    """What judges the landmarks."""
    if record is None:
        return "none: every fit that does not fail succeeds"
    return f"{record['kind'].upper()}, {_views_at(record['orientations'])}"


def _views(count: int) -> str:
    """A number of views."""
    return f"{count} view{'' if count == 1 else 's'}" if count else "none"


def _views_at(orientations: Tensor) -> str:
    """Views (V, 3), radians, by their yaw in degrees."""
    yaws = ", ".join(f"{math.degrees(yaw):.0f}" for yaw in orientations[:, 1].tolist())
    return f"{_views(len(orientations))} at yaw {yaws}"


def info(
    *,
    bundle: Path,
    verify: bool,
) -> None:
    """Print the contents of a bundle: shape model, patch experts, sources and licence; and where loops are compiled."""
    require_stdout("leave it open")
    with failures_exit_with(1):
        contents = load_bundle(bundle, verify=True if verify else None)
        for line in (*describe(contents, bundle), *describe_sources(contents)):
            say(line)
        say(describe_loops())
        if verify:
            say("  verified           every record agrees with its checksum, and all numbers are finite")
