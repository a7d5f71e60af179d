"""Part 1, is it right: fits of every family on the CPU and on the card, gradients, batches and poisoned rows."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.agreement import (
    DOUBLE,
    REDUCED,
    SINGLE,
    all_points,
    choices,
    compare_fits,
    compare_gradients,
    compare_points,
)
from benchmarks.gpu.machine import threads
from benchmarks.gpu.material import Material, Subject
from benchmarks.gpu.recorder import Recorder
from clnf_torch import FitResult, LandmarkDetector
from clnf_torch.fitting.config import preset_named

PART = "right"
FITS = "fits, CPU and card"
ROWS = "rows of a batch, on the card"
GRADIENTS = "gradients, CPU and card"
NUMERICS = ("exact", "openface")
TYPES = {"float64": torch.float64, "float32": torch.float32}
SHOWN = {"tf32": "TF32", "bf16": "bf16"}


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where results are computed, the expected ones and those in question.

    Without a card the expected ones are those of one thread.
    """

    device: torch.device

    def expected(self, run: Callable[[torch.device], Any]) -> Any:
        """What the CPU says."""
        with threads(1 if self.device.type == "cpu" else None):
            return run(torch.device("cpu"))

    def found(self, run: Callable[[torch.device], Any]) -> Any:
        """What the card says."""
        return run(self.device)


def measure_fits(recorder: Recorder, material: Material, places: Places, multi_view: bool) -> None:
    """Records fits of every model with both numerics and number types, from one hypothesis or from all of them."""
    faces = 2 if material.quick else 8 if multi_view else 16
    words = ("float32",) if material.quick and multi_view else tuple(TYPES)
    for subject in material.subjects:
        some = subject.more(faces)
        for numerics, word in product(NUMERICS, words):
            run = partial(fits, places, some, TYPES[word], numerics, multi_view)
            recorder.measure(PART, FITS, f"{subject.name}, {numerics}, {word}{', multi-view' * multi_view}", run)
    if not multi_view:
        for subject, precision in product(material.subjects[:2], ("tf32", "bf16")):
            run = partial(rounded, places, subject.more(faces), precision)
            recorder.measure(PART, FITS, f"{subject.name}, {SHOWN[precision]}", run)


def measure_batches(recorder: Recorder, material: Material, places: Places) -> None:
    """Records what faces notice of the others in their batch, on the card."""
    for subject in material.subjects:
        some = subject.more(8 if material.quick else 64)
        for name, run in (("alone", alone), ("another order", another_order), ("poisoned", poisoned)):
            recorder.measure(PART, ROWS, f"{subject.name}: {name}", partial(run, places.device, some))


def measure_gradients(recorder: Recorder, material: Material, places: Places) -> None:
    """Records gradients of every model but the largest, whose experts are like the free model's."""
    for subject in (material.subjects[0], *material.subjects[2:]):
        recorder.measure(PART, GRADIENTS, subject.name, partial(gradients, places, subject))


def fits(places: Places, subject: Subject, dtype: torch.dtype, numerics: str, multi_view: bool) -> dict[str, Any]:
    """One model's fits of the same faces in both places."""
    detector = subject.make(dtype, numerics)

    def run(device: torch.device) -> FitResult:
        return fit(moved(detector, device), subject, multi_view)

    found, expected = places.found(run), places.expected(run)
    return compare_fits(found, expected, DOUBLE if dtype == torch.float64 else SINGLE)


def rounded(places: Places, subject: Subject, precision: str) -> dict[str, Any]:
    """Fits in float32, with the experts' products in another precision on the card alone."""
    detector = subject.make(torch.float32, "exact")
    expected = places.expected(lambda device: fit(moved(detector, device), subject))
    detector.precision = precision
    return compare_fits(places.found(lambda device: fit(moved(detector, device), subject)), expected, REDUCED)


@torch.inference_mode()
def fit(detector: LandmarkDetector, subject: Subject, multi_view: bool = False) -> FitResult:
    """A subject's faces, wherever the detector is."""
    return detector.fit(
        subject.images, subject.boxes, subject.image_index, preset=subject.preset, multi_view=multi_view
    )


def moved(detector: LandmarkDetector, device: torch.device) -> LandmarkDetector:
    """A copy on a device; the original stays where it is."""
    return detector if device.type == "cpu" else deepcopy(detector).to(device)


def alone(device: torch.device, subject: Subject) -> dict[str, Any]:
    """Some faces fitted alone, against the same ones in their batch."""
    detector = moved(subject.make(torch.float32, "exact"), device)
    count = len(subject.boxes)
    rows = torch.tensor([0, count // 2, count - 1])
    together = fit(detector, subject)[rows.to(device)]
    singles = [fit(detector, _rows(subject, row[None])) for row in rows]
    found, expected = torch.cat([all_points(one) for one in singles]), all_points(together)
    return {"faces": count, "same_bits": _same_bits(found, expected), **compare_points(found, expected, SINGLE)}


def another_order(device: torch.device, subject: Subject) -> dict[str, Any]:
    """A batch in another order."""
    detector = moved(subject.make(torch.float32, "exact"), device)
    order = torch.randperm(len(subject.boxes), generator=torch.Generator().manual_seed(0))
    expected = fit(detector, subject)[order.to(device)]
    found = fit(detector, _rows(subject, order))
    values = compare_points(all_points(found), all_points(expected), SINGLE)
    return {"faces": len(order), "same_bits": _same_bits(all_points(found), all_points(expected)), **values}


def poisoned(device: torch.device, subject: Subject) -> dict[str, Any]:
    """A batch with faces that cannot be fitted, against the same batch without: the others must not notice.

    The first box is NaN, the second has no height, the third is in an image that does not exist, and the fourth in one
    that is all NaN.
    """
    detector = moved(subject.make(torch.float32, "exact"), device)
    images = torch.cat((subject.images.float(), torch.full_like(subject.images[:1], torch.nan, dtype=torch.float32)))
    clean = replace(subject, images=images)
    boxes, index = subject.boxes.clone(), subject.image_index.clone()
    count = min(4, len(boxes) - 1)
    boxes[0], boxes[1, 3] = torch.nan, 0.0
    index[2:3], index[3:4] = len(images) + 5, len(images) - 1
    expected = fit(detector, clean)
    found = fit(detector, replace(clean, boxes=boxes, image_index=index))
    values = compare_points(all_points(found)[count:], all_points(expected)[count:], SINGLE)
    failed = int((~found.success[:count]).sum())
    kept = choices(found[slice(count, None)], expected[slice(count, None)])
    fine = values["within"] and failed == count and kept.all_same
    same = _same_bits(all_points(found)[count:], all_points(expected)[count:])
    return {"faces": len(boxes), "poisoned": count, "failed": failed, "same_bits": same, **values, "within": fine}


def gradients(places: Places, subject: Subject) -> dict[str, Any]:
    """From landmarks and gaze back to the images, the shape model and the experts; float64, fixed iterations."""
    detector = subject.make(torch.float64, "exact")
    one = _rows(subject, torch.arange(1))

    def run(device: torch.device) -> dict[str, Tensor | None]:
        return gradients_of(deepcopy(detector).to(device), one)

    return compare_gradients(places.found(run), places.expected(run), bound=1e-6)


def gradients_of(detector: LandmarkDetector, subject: Subject) -> dict[str, Tensor | None]:
    """Gradients of a sum of the fitted landmarks, those of eyes too, and of the gaze, by what they belong to."""
    where = detector.model.pdm.mean.device
    images = subject.images.to(where, torch.float64).requires_grad_()
    learning = {name: p.requires_grad_() for name, p in detector.model.named_parameters() if p.is_floating_point()}
    named = isinstance(subject.preset, str)
    preset = preset_named(subject.preset, detector.model.family) if named else subject.preset
    preset = replace(preset, tolerance=0.0, iterations=2)
    found = detector.fit(images, subject.boxes, subject.image_index, preset=preset, multi_view=False, validate=False)
    told = [found.landmarks, found.eye_landmarks, found.gaze]
    numbers = torch.cat([each.flatten(1) for each in told if each is not None], 1)
    weight = torch.linspace(-1, 1, numbers.shape[1], dtype=torch.float64, device=where)
    (numbers * weight).sum().backward()
    return {"images": images.grad, **{name: parameter.grad for name, parameter in learning.items()}}


def _rows(subject: Subject, rows: Tensor) -> Subject:
    """Some of a subject's faces."""
    return replace(subject, boxes=subject.boxes[rows], image_index=subject.image_index[rows])


def _same_bits(found: Tensor, expected: Tensor) -> bool:
    """Whether two results are the same to the last bit, NaNs in the same places included."""
    return bool(torch.equal(found.nan_to_num(-1e9), expected.nan_to_num(-1e9)))
