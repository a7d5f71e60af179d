"""Landmark validation against OpenFace's: both of its validators, in five views, on good shapes and wrong rotations."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from clnf_torch import EXACT, OPENFACE
from clnf_torch.converters.openface.validator import convert_validator
from clnf_torch.detection.validator import DetectionValidator, face_region, is_face
from clnf_torch.detection.view_validator import ViewValidator
from clnf_torch.fitting.images import ImageBatch
from tests.agreement.golden import Golden
from tests.agreement.measure import Agreement

CASES = [
    (validator, image, number)
    for validator in ("cnn_68", "cnn")
    for image in ("lenna", "obama", "breakingbad")
    for number in range(3)
]
# Sampling positions, their ties included, are OpenFace's to the last bit, and so are the gray levels in between.
WITHIN_INPUT = 1e-3  # of inputs up to 1,200: 2e-7, the rounding of float32; reached: 2.5e-4
WITHIN_SCORE = 5e-5  # of scores up to 60; reached: 1.1e-5

pytestmark = pytest.mark.parametrize(("name", "image", "number"), CASES)


@pytest.fixture(scope="session")
def validator(openface_models: Path) -> Callable[..., DetectionValidator]:
    """OpenFace's validators by name and number type."""

    @cache
    def build(name: str, dtype: torch.dtype = torch.float32) -> DetectionValidator:
        path = openface_models / "detection_validation" / f"validator_{name}.txt"
        return DetectionValidator.from_record(convert_validator(path, points=68), dtype)

    return build


@pytest.fixture
def case(golden: Callable, name: str, image: str, number: int) -> Golden:
    """What OpenFace wrote down."""
    return golden(f"validate_{name}_{image}_{number}")


def stages(case: Golden, validator: DetectionValidator, gray: torch.Tensor) -> tuple[ViewValidator, torch.Tensor]:
    """The validator that looks, and the gray levels it sees."""
    (number,) = validator.nearest_view(case["in_orientation"]).tolist()
    assert number == case["validator/view_id"].item()
    landmarks, view = case.points("in_landmarks"), validator.views[number]
    corner, usable = face_region(landmarks, *gray.shape[1:])
    assert usable.all()
    assert corner.tolist() == case["validator/roi"][:, :2].tolist()
    shifted = landmarks - corner[:, None]
    expected = torch.stack([case[f"validator/map_{axis}"].flatten(1)[:, view.places] for axis in "xy"], -1)
    assert torch.equal(view.positions(shifted), expected)
    images = ImageBatch(gray, torch.tensor([0])).without_last_pixels()
    return view, view.warp(images, shifted, corner, OPENFACE)


def test_stages(case: Golden, validator: Callable, read_image: Callable, agree: Agreement, name: str, image: str):
    view, pixels = stages(case, validator(name), read_image(image))
    warped, inputs = (case[f"validator/{key}"].flatten(1)[:, view.places] for key in ("warped", "cnn_input"))
    agree.absolute("validator: gray levels", pixels, warped, within=0)
    agree.absolute("validator: network input", view.normalise(pixels), inputs, within=WITHIN_INPUT)
    agree.absolute("validator: scores", view(pixels), case["validator/cnn_output"][0], within=WITHIN_SCORE)


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=["openface", "exact"])
def test_confidence(case: Golden, validator: Callable, read_image: Callable, dtype, numerics, name: str, image: str):
    case = case.to(dtype)
    images = ImageBatch(read_image(image), torch.tensor([0]))
    confidence = validator(name, dtype)(images, case["in_orientation"], case.points("in_landmarks"), numerics)
    assert torch.equal(confidence, case["certainty"])
    assert is_face(confidence).item() == (case["certainty"].item() > 0.725)
