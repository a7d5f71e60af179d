"""`clnf_torch.detection.validator`: each step by hand, faces that cannot be judged, batches against single faces."""

from __future__ import annotations

import math
from statistics import fmean, pstdev

import pytest
import torch
from torch import nn

from clnf_torch.detection.validator import FACES, DetectionValidator, face_region, is_face
from clnf_torch.detection.view_validator import ViewValidator, confidence_of
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.models.layers import build_network
from clnf_torch.models.numerics import EXACT, OPENFACE
from tests.factories import make_images
from tests.validators import BINS, HEIGHT, WIDTH, make_validator_record, make_warp_frame

POSSIBLE = [0.125, 0.375, 0.625, 0.875]  # 1 - (k + 1/2) / BINS
BOTH = pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=["openface", "exact"])


def make_faces(count: int, dtype=torch.float64, frames: int = 2):
    """Images with faces in them, their rotations and landmarks; every other face is turned aside."""
    rng = torch.Generator().manual_seed(9)
    corners, _ = make_warp_frame()
    size = 2 + 3 * torch.rand(count, 1, 1, generator=rng, dtype=torch.float64)
    centre = 30 + 12 * torch.rand(count, 1, 2, generator=rng, dtype=torch.float64)
    landmarks = size * corners + centre + torch.randn(count, 5, 2, generator=rng, dtype=torch.float64)
    rotation = torch.zeros(count, 3, dtype=dtype)
    rotation[1::2, 1] = 0.6
    image_index = torch.arange(count) % frames
    return ImageBatch(make_images(frames).to(dtype), image_index), rotation, landmarks.to(dtype)


def test_confidences_of_scores():
    scores = torch.tensor([[9.0, 1, 2, 3], [1, 9, 2, 3], [1, 2, 3, 9], [5, 5, 5, 5], [1, math.nan, 2, 3]])
    assert confidence_of(scores).tolist() == [0.875, 0.625, 0.125, 0.875, 0.0]
    assert confidence_of(scores.double()).dtype == torch.float64


def test_the_sixth_of_twenty_scores_is_no_face(dtype):
    confidence = confidence_of(torch.eye(20, dtype=dtype))
    assert is_face(confidence).tolist() == [True] * 5 + [False] * 15
    assert is_face(confidence_of(torch.eye(30, dtype=dtype))).tolist() == [True] * 8 + [False] * 22


@pytest.mark.parametrize(
    ("low", "high", "corner", "usable"),
    [
        ((10.9, 20.2), (50.0, 60.0), (7, 17), True),
        ((1.5, 2.9), (50.0, 60.0), (0, 0), True),  # cut off at the image's border
        ((-500.0, -500.0), (500.0, 500.0), (0, 0), True),
        ((-30.0, 10.0), (-3.0, 60.0), (0, 7), False),  # left of it
        ((-30.0, 10.0), (-1.1, 60.0), (0, 7), False),  # a column of one pixel
        ((-30.0, 10.0), (-1.0, 60.0), (0, 7), True),  # of two
        ((200.0, 10.0), (300.0, 60.0), (197, 7), False),
        ((1e30, 0.0), (1e35, 50.0), (1e30, 0), False),
    ],
)
def test_regions(low, high, corner, usable, dtype):
    landmarks = torch.tensor([[low, high, high]], dtype=dtype)
    found, judged = face_region(landmarks, height=90, width=100)
    torch.testing.assert_close(found[0], torch.tensor(corner, dtype=dtype))
    assert judged.tolist() == [usable]


def test_normalisation_by_hand(rng):
    view = DetectionValidator.from_record(make_validator_record(), torch.float64).views[0]
    pixels = 255 * torch.rand(2, len(view.mean), generator=rng, dtype=torch.float64)
    for values, found in zip(pixels.tolist(), view.normalise(pixels).tolist(), strict=True):
        mean, spread = fmean(values), pstdev(values)
        for value, m, d, ours in zip(values, view.mean.tolist(), view.deviation.tolist(), found, strict=True):
            assert ours == pytest.approx(((value - mean) / spread - m) / d)


def test_a_face_without_texture_is_zero_before_the_second_normalisation(dtype):
    view = DetectionValidator.from_record(make_validator_record(), dtype).views[0]
    flat = torch.full((1, len(view.mean)), 100.3, dtype=dtype, requires_grad=True)
    found = view.normalise(flat)
    torch.testing.assert_close(found[0], -view.mean / view.deviation)
    (gradient,) = torch.autograd.grad(found.sum(), flat)
    assert gradient.isfinite().all()


@BOTH
def test_the_steps_one_by_one(numerics):
    validator = DetectionValidator.from_record(make_validator_record(), torch.float64)
    gray = make_images(2)
    _, rotation, landmarks = make_faces(4)
    image_index = torch.tensor([0, 1, 0, 1])
    confidence = validator(ImageBatch(gray, image_index), rotation, landmarks, numerics)
    for i in range(4):
        view = validator.views[i % 2]
        positions = view.positions(landmarks[i : i + 1])[0]
        if numerics.sample_on_32nds:
            positions = (32 * positions).round() / 32
        pixels = torch.stack([bilinear(gray[image_index[i]], x, y) for x, y in positions.tolist()])
        image = torch.zeros(HEIGHT * WIDTH, dtype=torch.float64)
        image[view.places] = ((pixels - pixels.mean()) / pixels.std(correction=0) - view.mean) / view.deviation
        scores = build_network(make_validator_record()["views"][i % 2]["layers"], torch.float64)(
            image.view(1, 1, HEIGHT, WIDTH)
        )
        torch.testing.assert_close(view(pixels[None]), scores)
        assert confidence[i].item() == POSSIBLE[::-1][int(scores.argmax())]


def bilinear(image, x: float, y: float):
    """One gray level between pixels, all of them inside."""
    column, row = math.floor(x), math.floor(y)
    right, down = x - column, y - row
    (a, b), (c, d) = image[row : row + 2, column : column + 2]
    return (a * (1 - right) + b * right) * (1 - down) + (c * (1 - right) + d * right) * down


class Darkest(nn.Module):
    """A network whose greatest score is that of the darkest pixel."""

    def forward(self, images):
        return -images.flatten(1)


def test_the_last_row_and_column_are_black_in_openface_alone():
    gray = torch.full((1, 40, 40), 200.0, dtype=torch.float64)
    corners, table = make_warp_frame()
    mean = torch.zeros(len(table["pixels"]), dtype=torch.float64)
    places = torch.arange(len(mean))
    view = ViewValidator(table, places, (1, len(mean)), mean, mean + 1, Darkest())
    landmarks = 3 * corners[None] + torch.tensor([31.4, 31.4])  # as far as the last pixels
    corner, _ = face_region(landmarks, 40, 40)
    images = ImageBatch(gray, torch.tensor([0]))
    whole = view.warp(images, landmarks - corner[:, None], corner, EXACT)
    cut = view.warp(images.without_last_pixels(), landmarks - corner[:, None], corner, EXACT)
    inside = (view.positions(landmarks) <= 38).all(-1)
    last = (view.positions(landmarks) > 38).any(-1)
    assert inside.any() and last.any()
    assert (whole == 200).all() and (cut[inside] == 200).all() and (cut[last] < 200).all()
    judge = DetectionValidator(torch.zeros(1, 3), [view])
    rotation = torch.zeros(1, 3, dtype=torch.float64)
    expected = {numerics: confidence_of(view(seen)) for numerics, seen in ((EXACT, whole), (OPENFACE, cut))}
    assert expected[EXACT] != expected[OPENFACE]
    for numerics, confidence in expected.items():
        assert torch.equal(judge(images, rotation, landmarks, numerics), confidence)


@BOTH
def test_faces_that_cannot_be_judged_spare_the_others(numerics, dtype):
    validator = DetectionValidator.from_record(make_validator_record(), dtype)
    images, rotation, landmarks = make_faces(8, dtype)
    expected = validator(images, rotation, landmarks, numerics)
    assert set(expected.tolist()) <= set(POSSIBLE) and len(set(expected.tolist())) > 1
    landmarks[0, 2, 1] = math.nan
    rotation[1, 0] = math.inf
    landmarks[2] = 20.0  # a heap, which leaves a square of six pixels
    landmarks[3] += 1000
    landmarks[4] = math.inf
    confidence = validator(images, rotation, landmarks, numerics)
    assert confidence[[0, 1, 3, 4]].tolist() == [0, 0, 0, 0]
    assert confidence[2] in POSSIBLE
    assert torch.equal(confidence[5:], expected[5:])


def test_a_image_that_is_no_image_has_confidence_zero():
    validator = DetectionValidator.from_record(make_validator_record(), torch.float64)
    _, rotation, landmarks = make_faces(4)
    gray = make_images(2)
    gray[1] = math.nan
    confidence = validator(ImageBatch(gray, torch.tensor([0, 1, 0, 1])), rotation, landmarks, EXACT)
    assert (confidence[[1, 3]] == 0).all() and (confidence[[0, 2]] > 0).all()


@BOTH
def test_faces_in_a_batch_do_not_see_each_other(numerics, device, dtype):
    faces = FACES + 7
    validator = DetectionValidator.from_record(make_validator_record(), dtype).to(device)
    images, rotation, landmarks = make_faces(faces, dtype)
    images = ImageBatch(make_images(2).to(device, dtype), (torch.arange(faces) % 2).to(device))
    rotation, landmarks = rotation.to(device), landmarks.to(device)
    together = validator(images, rotation, landmarks, numerics)
    assert together.shape == (faces,) and together.dtype == dtype and together.device.type == device.type
    assert len(set(together.tolist())) > 1
    for i in range(0, faces, 9):
        row = torch.tensor([i], device=device)
        assert torch.equal(validator(images.rows(row), rotation[row], landmarks[row], numerics), together[row])
    order = torch.randperm(faces, generator=torch.Generator().manual_seed(0)).to(device)
    shuffled = validator(images.rows(order), rotation[order], landmarks[order], numerics)
    assert torch.equal(shuffled, together[order])


def test_no_faces():
    validator = DetectionValidator.from_record(make_validator_record())
    images = ImageBatch(torch.zeros(1, 20, 20), torch.zeros(0, dtype=torch.int64))
    assert validator(images, torch.zeros(0, 3), torch.zeros(0, 5, 2), OPENFACE).shape == (0,)


def test_the_first_of_two_equally_close_orientations():
    validator = DetectionValidator.from_record(make_validator_record())
    rotation = torch.tensor([[0.0, 0.35, 0.0], [0.0, 0.36, 0.0], [0.0, 0.34, 0.0]], dtype=torch.float64)
    assert validator.nearest_view(rotation).tolist() == [0, 1, 0]


def test_gradient_of_scores():
    view = DetectionValidator.from_record(make_validator_record(), torch.float64).views[0]
    gray, landmarks = make_images(1)[:, 20:31, 20:31].clone(), make_warp_frame()[0][None] + 5.3
    corner, image_index = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0])

    def scores(gray, landmarks):
        return view(view.warp(ImageBatch(gray, image_index), landmarks, corner, EXACT))

    assert torch.autograd.gradcheck(scores, (gray.requires_grad_(), landmarks.requires_grad_()))


def test_records_of_another_kind():
    with pytest.raises(ValueError, match="of kind 'svr', this program knows 'cnn'"):
        DetectionValidator.from_record({**make_validator_record(), "kind": "svr"})


def test_the_table_moves_with_the_module():
    view = DetectionValidator.from_record(make_validator_record(), torch.float32).views[1]
    assert view.alpha.dtype == torch.float32
    assert view.to(torch.float64).alpha.dtype == torch.float64 and view.triangles.dtype == torch.int64
    assert BINS == len(POSSIBLE)
