"""Bundles of every family: their bytes are damaged, or their fields, under right checksums; then they fit a face."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import clnf_torch
from clnf_torch.cli.runs.info import describe, describe_sources
from clnf_torch.models.bundle import BundleError, save_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from tests.factories import make_boxes, make_images, make_model, make_pdm, make_rules
from tests.fuzz.formats import Format
from tests.fuzz.mutations import mutate_bytes
from tests.models.patch_experts.template_factories import make_ccnf, make_svr
from tests.models.test_families import unet_model
from tests.mtcnns import make_mtcnn_record
from tests.validators import make_validator_record

IMAGES, BOXES = make_images(2).float(), make_boxes(2).float()
FRAME = 255 * torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(2))


def prepare(folder: Path) -> list[Path]:
    """A small bundle of each family; one has parts, a validator, and a face detector."""
    pdm, single = make_pdm(torch.float32), torch.float32
    models: dict[str, Any] = {
        "cen": make_model(single, rules=make_rules(single)).to_record(),
        "ccnf": LandmarkModel(pdm, [make_ccnf(dtype=single)] * 2).to_record(),
        "svr": LandmarkModel(pdm, [make_svr(dtype=single)]).to_record(),
        "heatmap": whole_record(),
    }
    for family, record in models.items():
        others = (
            {"validator": make_validator_record(), "face_detector": make_mtcnn_record()} if family == "heatmap" else {}
        )
        save_bundle(
            folder / f"{family}.pt",
            record,
            writer="a test",
            licence="none",
            numerics="exact" if family == "heatmap" else "openface",
            sources=[{"name": "a.dat", "bytes": 3, "sha256": "0" * 64, "published": None}, {"name": "faces"}],
            skipped=[{"entry": "b.dat", "reason": "is missing"}],
            **others,
        )
    return sorted(folder.iterdir())


def whole_record() -> dict[str, Any]:
    """A model of heatmap experts with a part of CEN experts."""
    pairs = torch.tensor([0, 3])
    part = {"name": "brow", "in_parent": pairs, "in_part": pairs, "model": make_model(torch.float32).to_record()}
    return {**unet_model().to_record(), "triangulations": [torch.tensor([[0, 1, 2]])], "parts": [part]}


def use(path: Path) -> None:
    """Loads all that is in a bundle, describes it, and fits two faces."""
    bundle = clnf_torch.load_bundle(path)
    for line in (*describe(bundle, path), *describe_sources(bundle)):
        assert line.isprintable(), line
    with torch.inference_mode():
        detector = clnf_torch.load(path)
        scales = detector.model.num_scales
        # More scales than the presets have windows for are a matter of the caller's settings
        preset = "default" if scales <= 3 else clnf_torch.FitConfig(window_sizes=(5,) * scales, iterations=2)
        result = detector.fit(IMAGES, BOXES, preset=preset)
        assert result.landmarks[result.success].isfinite().all(), "success with landmarks that are not finite"
        assert result.confidence.isfinite().all(), "a confidence that is not finite"
        if bundle.get("face_detector") is not None:
            found = clnf_torch.load_face_detector(path).detect(FRAME)
            assert found.boxes.isfinite().all() and found.score.isfinite().all(), "a box that is not finite"


# ---- fields ---------------------------------------------------------------------------------------------------------

PLAIN: tuple[Any, ...] = (
    None, True, 0, 1, -1, 3, 10**6, 2**63, 10**30, 0.0, -1.0, 1e300, float("nan"), float("inf"), "", "evil",
    "x" * 10**4, b"bytes", (), [], [1], {}, {"a": 1}, [[]], torch.zeros(0), torch.tensor(1.0), torch.zeros(3, 3),
)  # fmt: skip
SPECIAL = (0.0, -1.0, 1e30, 1e300, float("nan"), float("inf"), -(2.0**31), 68.0)
TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)
Place = tuple[Any, Any]
"""A dictionary or list, and the key of one of its values."""


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Half of the damage goes to the bytes, half to one to three fields of a file that is otherwise sound."""
    if rng.random() < 0.5:
        return mutate_bytes(content, rng)
    values = torch.load(io.BytesIO(content), weights_only=True)
    for _ in range(rng.randint(1, 3)):
        where = list(places(values))
        holder, key = rng.choice(where)
        tensors = [place for place in where if is_plain(place[0][place[1]])]
        if tensors and rng.random() < 0.6:
            holder, key = rng.choice(tensors)
            holder[key] = rng.choice(TENSOR_CHANGES)(holder[key], rng)
        else:
            change(holder, key, where, rng)
    stream = io.BytesIO()
    torch.save(values, stream)
    return stream.getvalue()


def is_plain(value: Any) -> bool:
    """Whether a value is a tensor of a kind that bundles hold, and not a bomb already."""
    plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return plain and value.numel() < 10**6


def places(value: Any, depth: int = 12) -> Iterator[Place]:
    """Where values are; a list may hold itself by now, so that there is an end to it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if depth and isinstance(value[key], (dict, list)):
            yield from places(value[key], depth - 1)


def change(holder: Any, key: Any, where: list[Place], rng: random.Random) -> None:
    """A value is another one, one from elsewhere, missing, or there twice."""
    other_holder, other_key = rng.choice(where)
    kind = rng.randrange(6)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1:
        holder[key] = other_holder[other_key]
    elif kind == 2:
        holder[key], other_holder[other_key] = other_holder[other_key], holder[key]
    elif kind == 3 and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif kind == 4 and isinstance(holder, dict):
        holder[rng.choice(("extra", 7, None))] = rng.choice(PLAIN)
    else:
        holder[key] = rng.choice(PLAIN)


def with_number(tensor: Tensor, rng: random.Random) -> Tensor:
    """One number, or all of them, is another."""
    new = tensor.clone(memory_format=torch.contiguous_format)
    value = torch.tensor(rng.choice(SPECIAL), dtype=torch.float64).to(new.dtype)
    if new.numel() and rng.random() < 0.7:
        new.view(-1)[rng.randrange(new.numel())] = value
    else:
        new.copy_(value.expand_as(new))
    return new


def resized(tensor: Tensor, rng: random.Random) -> Tensor:
    """An axis is longer, shorter, gone, or new."""
    if not tensor.ndim or rng.random() < 0.2:
        return tensor[None]
    axis = rng.randrange(tensor.ndim)
    length = tensor.shape[axis]
    rows = rng.choice(
        ([], list(range(length))[:-1], [*range(length), *range(length)][: length + 1], [0] if length else [])
    )
    return tensor.index_select(axis, torch.tensor(rows, dtype=torch.int64))


def strided(tensor: Tensor, rng: random.Random) -> Tensor:
    """The same numbers are read in another order, or one of them again and again."""
    if not tensor.numel():
        return tensor
    if rng.random() < 0.5 and tensor.ndim > 1:
        return tensor.transpose(0, rng.randrange(1, tensor.ndim))
    return tensor.reshape(-1)[:1].expand(rng.choice((tensor.numel(), 10**6, 10**9)))


def retyped(tensor: Tensor, rng: random.Random) -> Tensor:
    """The numbers are of another type, or a kind of tensor that bundles do not hold."""
    if rng.random() < 0.8:
        return tensor.to(rng.choice(TYPES))
    flat = tensor.float().reshape(-1)
    return rng.choice((lambda: flat.to_sparse(), lambda: flat.to(torch.complex64), lambda: flat.to("meta")))()


TENSOR_CHANGES: tuple[Callable[[Tensor, random.Random], Tensor], ...] = (
    with_number,
    with_number,
    resized,
    strided,
    retyped,
)

FORMATS = (Format(name="bundle", prepare=prepare, use=use, refusals=(BundleError,), mutate=mutate, share=4),)
