"""A small MTCNN of random networks that are unsure of everything, and OpenFace's cascade written with loops."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from clnf_torch.detection.mtcnn import MTCNN, MTCNNConfig
from tests.factories import seeded

CONFIG = MTCNNConfig(min_face=24, thresholds=(0.55, 0.45, 0.4))
Box = tuple[float, float, float, float]


def make_mtcnn_record(seed: int = 7) -> dict[str, Any]:
    """Networks of the right shapes with few channels."""
    rng = seeded(seed)

    def randn(*shape: int, scale: float = 1.0) -> Tensor:
        return scale * torch.randn(shape, generator=rng) / math.sqrt(max(1, math.prod(shape[1:])))

    def conv(inputs: int, outputs: int, side: int) -> dict[str, Any]:
        return {
            "kind": "conv",
            "weight": randn(outputs, inputs, side, side, scale=2),
            "bias": randn(outputs, scale=0.1),
        }

    def prelu(channels: int) -> dict[str, Any]:
        return {"kind": "prelu", "slope": randn(channels, scale=0.3)}

    def pool(side: int) -> dict[str, Any]:
        return {"kind": "max_pool", "kernel": [side, side], "stride": [2, 2]}

    def answers(inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
        weight = randn(outputs, inputs)
        weight[2:] *= 0.1  # small regressions
        return weight, torch.zeros(outputs)

    weight, bias = answers(4, 6)
    pnet = [conv(3, 3, 3), prelu(3), pool(2), conv(3, 4, 3), prelu(4), conv(4, 4, 3)]
    pnet.append({"kind": "conv", "weight": weight[:, :, None, None], "bias": bias})
    record: dict[str, Any] = {"kind": "mtcnn", "pnet": {"layers": pnet}}
    for name, outputs, maps in (("rnet", 6, 11), ("onet", 16, 23)):
        weight, bias = answers(4 * maps * maps, outputs)
        head = {"kind": "linear", "weight": weight, "bias": bias}
        record[name] = {"layers": [conv(3, 4, 3), prelu(4), pool(3), head]}
    return record


def make_mtcnn(dtype: torch.dtype = torch.float64, seed: int = 7) -> MTCNN:
    """The detector of these networks; it finds dozens of faces in anything."""
    return MTCNN.from_record(make_mtcnn_record(seed), dtype, CONFIG)


def detect_slowly(mtcnn: MTCNN, image: Tensor) -> list[tuple[Box, float]]:
    """Faces in one image (3, H, W), float64: every box by itself, as OpenFace ``FaceDetectorMTCNN::DetectFaces``."""
    config, found = mtcnn.config, []
    _, height, width = image.shape
    count = math.floor(math.log(config.min_face / min(height, width)) / math.log(config.factor)) + 1
    for k in range(count):
        scale = 12 / config.min_face * config.factor**k
        small = _resized(image, math.ceil(height * scale), math.ceil(width * scale))
        maps = mtcnn.proposer(_shown(small)[None])[0]
        found += _after_nms(_proposed(maps, scale, config.thresholds[0]), 0.5)
    found = [_squared(_corrected(one, 0)) for one in _after_nms(found, 0.7)]
    found = _judged(mtcnn.refiner, 24, image, found, config.thresholds[1])
    found = [_squared(_corrected(one, 0)) for one in _after_nms(found, 0.7)]
    found = _judged(mtcnn.output, 48, image, found, config.thresholds[2])
    found = _after_nms([_corrected(one, 1) for one in found], 0.7, of_smaller=True)
    extents = ((x - 0.0075 * w, y + 0.2459 * h, 1.0323 * w, 0.7751 * h) for (x, y, w, h), _, _ in found)
    return [(box, score) for box, (_, score, _) in zip(extents, found, strict=True)]


Found = tuple[Box, float, list[float]]  # box, score, regression


def _shown(image: Tensor) -> Tensor:
    return (image - 127.5) * 0.0078125


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    return torch.nn.functional.interpolate(image[None], (height, width), mode="bilinear", align_corners=False)[0]


def _probability(answer: Tensor) -> float:
    return 1 / (1 + math.exp(answer[0] - answer[1]))


def _proposed(maps: Tensor, scale: float, threshold: float) -> list[Found]:
    found = []
    single = torch.tensor(scale, dtype=torch.float32)
    for column in range(maps.shape[2]):
        for row in range(maps.shape[1]):
            answer = maps[:, row, column]
            if (score := _probability(answer)) >= threshold:
                ends = [2 * column + 1, 2 * row + 1, 2 * column + 12, 2 * row + 12]
                x, y, x2, y2 = (int(torch.tensor(end, dtype=torch.float32) / single) for end in ends)
                found.append(((x, y, x2 - x, y2 - y), score, answer[2:6].tolist()))
    return found


def _after_nms(found: list[Found], threshold: float, of_smaller: bool = False) -> list[Found]:
    waiting, kept = [found[k] for k in sorted(range(len(found)), key=lambda k: (found[k][1], k))], []
    while waiting:
        kept.append(waiting.pop())
        x, y, w, h = map(round, kept[-1][0])

        def close(other: Found, x: int = x, y: int = y, w: int = w, h: int = h) -> bool:
            x2, y2, w2, h2 = map(round, other[0])
            common = max(0, min(x + w, x2 + w2) - max(x, x2)) * max(0, min(y + h, y2 + h2) - max(y, y2))
            whole = min(w * h, w2 * h2) if of_smaller else w * h + w2 * h2 - common
            return whole != 0 and common / whole > threshold

        waiting = [other for other in waiting if not close(other)]
    return kept


def _corrected(one: Found, grown: int) -> Found:
    (x, y, w, h), score, (left, top, right, bottom) = tuple(map(round, one[0])), *one[1:]
    w, h = w + grown, h + grown
    x1, y1, x2, y2 = x + left * w, y + top * h, x + w + w * right, y + h + h * bottom
    return (x1, y1, x2 - x1, y2 - y1), score, one[2]


def _squared(one: Found) -> Found:
    x, y, w, h = one[0]
    side = max(w, h)
    return (int(x + 0.5 * (w - side)), int(y + 0.5 * (h - side)), int(side), int(side)), *one[1:]


def _judged(network: torch.nn.Module, side: int, image: Tensor, found: list[Found], threshold: float) -> list[Found]:
    kept = []
    _, height, width = image.shape
    for box, _, _ in found:
        x, y, w, h = map(int, box)
        left, right, top, bottom = max(x - 1, 0), min(x + w, width), max(y - 1, 0), min(y + h, height)
        if right <= left or bottom <= top:
            continue
        patch = image.new_zeros(3, h + 1, w + 1)
        u, v = max(1 - x, 0), max(1 - y, 0)
        patch[:, v : v + bottom - top, u : u + right - left] = image[:, top:bottom, left:right]
        answer = network(_shown(_resized(patch, side, side))[None])[0]
        if (score := _probability(answer)) >= threshold:
            kept.append((box, score, answer[2:6].tolist()))
    return kept
