"""Trial fits: where they start, what becomes of them; and perturbed shapes, from nearly right to hopeless."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.geometry.records import join_rows
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.boxes import box_around
from clnf_torch.training.data.trial_fits import (
    LOST,
    STARTS,
    TrialFits,
    fit_from,
    half_occluded_faces,
    perturb_shapes,
    run_trial_fits,
    with_half_occluded_faces,
)
from tests.factories import M, make_pdm, seeded
from tests.training.heads import make_crops, make_gaussian, make_heads
from tests.training.untrained import untrained_model

FACES = 6


@pytest.fixture(scope="module")
def model():
    return untrained_model()


@pytest.fixture(scope="module")
def faces(model):
    return make_crops(make_gaussian().pdm(0.99).landmarks(make_heads(make_gaussian().pdm(0.99), FACES)))


def test_fits_know_their_errors(faces):
    face = torch.tensor([2, 0])
    moved = faces.landmarks[face] + torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]]])
    found = TrialFits.of(faces, face, moved)
    eyes = (faces.landmarks[2, 36] - faces.landmarks[2, 45]).norm()
    torch.testing.assert_close(found.error, torch.stack((5 / eyes, torch.zeros(()))))
    both = join_rows(found, found[torch.tensor([1])])
    assert both.face.tolist() == [2, 0, 0] and len(both) == 3


@pytest.mark.parametrize("name", STARTS)
def test_starts_have_an_image_and_a_box_for_every_face(faces, name):
    start = STARTS[name](faces, seeded(1))
    assert start.images.shape == faces.gray.shape and start.images.dtype == torch.uint8
    assert start.boxes.shape == (FACES, 4) and (start.boxes[:, 2:] > 0).all()
    torch.testing.assert_close(STARTS[name](faces, seeded(1)).boxes, start.boxes)


def test_usual_boxes_are_close_and_displaced_ones_are_not(faces):
    true = box_around(faces.landmarks)
    away = {name: float((STARTS[name](faces, seeded(2)).boxes - true).abs().mean()) for name in STARTS}
    assert away["usual"] < 5 < away["displaced"] < away["anywhere"]


def test_half_of_a_half_face_is_black_and_the_rest_as_it_was(faces):
    images = half_occluded_faces(faces, seeded(3)).images
    black = (images == 0).all(1)  # by column
    assert (black[:, 0] != black[:, -1]).all()
    assert torch.equal(images[~black[:, None].expand_as(images)], faces.gray[~black[:, None].expand_as(images)])


def test_every_second_face_comes_once_more_as_half_a_face(faces):
    more = with_half_occluded_faces(faces, seed=1)
    assert torch.equal(more.gray[:FACES], faces.gray)
    assert torch.equal(more.landmarks, torch.cat((faces.landmarks, faces.landmarks[::2])))
    halves, wholes = more.gray[FACES:], faces.gray[::2]
    assert ((halves == wholes) | (halves == 0)).all() and ((halves == 0).flatten(1).float().mean(1) > 0.2).all()


def test_boxes_of_faces_upside_down_lie_where_the_faces_are(faces):
    start = STARTS["upside down"](faces, seeded(4))
    assert start.upside_down and torch.equal(start.images, faces.gray.rot90(2, (1, 2)))
    middle = start.boxes[:, :2] + start.boxes[:, 2:] / 2
    true = box_around(faces.landmarks)
    torch.testing.assert_close(middle, 95 - (true[:, :2] + true[:, 2:] / 2), rtol=0, atol=8)


class Centred(LandmarkDetector):
    """Believes that all landmarks are in the middle of the upper left quarter of an image's box."""

    def fit(self, frames, boxes, **_):
        found = super().fit(frames, boxes)
        shape = (boxes[:, None, :2] + boxes[:, None, 2:] / 4).expand(-1, 68, -1)
        return found.__class__(**{**vars(found), "landmarks": shape})


def test_landmarks_come_back_from_turned_images(model, faces):
    landmarks, confidence = fit_from(Centred(model, "exact"), faces, STARTS["upside down"], seeded(5))
    boxes = STARTS["upside down"](faces, seeded(5)).boxes
    torch.testing.assert_close(landmarks[:, 0], 95 - (boxes[:, :2] + boxes[:, 2:] / 4))
    assert confidence.shape == (FACES,)


def test_fits_from_everywhere_are_spread_and_reproducible(model, faces):
    told = []
    fits = run_trial_fits(model, faces, seed=1, report=lambda number, failed: told.append((number, failed)))
    assert [number for number, _ in told] == [1, 2, 3, 4]
    assert 3 * FACES < len(fits) <= 4 * FACES and fits.landmarks.isfinite().all()
    again = run_trial_fits(model, faces, seed=1)
    for name, value in vars(fits).items():
        assert torch.equal(value, getattr(again, name))


CPU = torch.device("cpu")


def perturbed(count: int = 4000):
    pdm = make_pdm(torch.float32)
    one = ShapeParams(torch.ones(count), torch.zeros(count, 3), torch.full((count, 2), 50.0), torch.zeros(count, M))
    return pdm, pdm.landmarks(one), perturb_shapes(pdm, one, Sampler(seeded(4), CPU))


def test_some_lie_right_some_nearly_and_some_far_away():
    _, true, found = perturbed()
    error = (found - true).norm(dim=-1).mean(-1) / 62  # the eyes of this face are 62 mm apart
    shares = [
        float(((error > low) & (error < high)).float().mean()) for low, high in ((0, 0.08), (0.08, 0.3), (0.3, 9))
    ]
    assert min(shares) > 0.15
    assert shares[2] > 0.8 * LOST


def test_shapes_stay_within_the_limits_of_the_model():
    pdm, pose = make_pdm(torch.float32), (torch.ones(9), torch.zeros(9, 3), torch.zeros(9, 2))
    far, further = (
        perturb_shapes(pdm, ShapeParams(*pose, factor * pdm.local_limit.expand(9, -1)), Sampler(seeded(5), CPU))
        for factor in (100, 200)
    )
    assert torch.equal(far, further)


def test_the_same_seed_perturbs_alike():
    torch.testing.assert_close(perturbed(20)[2], perturbed(20)[2], rtol=0, atol=0)
