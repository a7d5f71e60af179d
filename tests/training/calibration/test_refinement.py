"""`clnf_torch.training.calibration.refinement`: offsets that bring fits nearer to annotations."""

from __future__ import annotations

import torch

from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.calibration.refinement import FittedFaces, learn_refinement, with_refinement
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.evaluation.metrics import face_errors
from tests.factories import seeded
from tests.training.untrained import untrained_model

MIRRORED = torch.tensor(MIRROR)


def make_faces(shape_noise: float, *centroid_noise: float, faces: int = 200) -> tuple[FittedFaces, torch.Tensor]:
    """Fits whose shapes are off by known, symmetric offsets, and noise; centroids of as many scales as have noise."""
    rng = seeded(3)
    truth = 100 + 60 * torch.rand(faces, 68, 2, generator=rng)
    offset = torch.randn(68, 2, generator=rng)
    offset = (offset + offset[MIRRORED] * torch.tensor([-1.0, 1.0])) / 2
    to_image = torch.eye(2).expand(faces, 2, 2) * 2.0
    noise = torch.randn(1 + len(centroid_noise), faces, 68, 2, generator=rng)
    shape = truth - 2 * offset + shape_noise * noise[0]
    centroids = torch.stack([truth + own * some for own, some in zip(centroid_noise, noise[1:], strict=True)], 1)
    return FittedFaces(shape=shape, centroids=centroids, to_image=to_image, truth=truth), offset


def test_offsets_are_found():
    faces, offset = make_faces(0.1, 0.1)
    torch.testing.assert_close(learn_refinement(faces, MIRRORED).shape_offset, offset, atol=0.05, rtol=0)


def test_the_better_of_both_has_the_larger_share():
    assert learn_refinement(make_faces(3.0, 0.3)[0], MIRRORED).share[0, 0] > 0.9
    assert learn_refinement(make_faces(0.3, 3.0)[0], MIRRORED).share[0, 0] < 0.1
    assert 0.3 < learn_refinement(make_faces(1.0, 1.0)[0], MIRRORED).share[0, 0] < 0.7


def test_scales_are_better_together():
    faces, _ = make_faces(2.0, 1.0, 1.0)
    made = learn_refinement(faces, MIRRORED)
    assert made.scales == 2 and made.share[:, 0].min() > 0.3
    torch.testing.assert_close(made.share[0], made.share[1], atol=0.05, rtol=0)
    one = learn_refinement(FittedFaces(**vars(faces) | {"centroids": faces.centroids[:, :1]}), MIRRORED)
    together, alone = (
        made(faces.shape, faces.centroids, faces.to_image),
        one(faces.shape, faces.centroids[:, :1], faces.to_image),
    )
    assert face_errors(together, faces.truth).mean() < 0.85 * face_errors(alone, faces.truth).mean()


def test_offsets_are_symmetric_even_if_annotators_are_not():
    faces, _ = make_faces(0.1, 0.1)
    faces.truth[:, 48, 0] += 3
    refinement = learn_refinement(faces, MIRRORED)
    for offset in (refinement.shape_offset, *refinement.centroid_offset):
        torch.testing.assert_close(offset[MIRRORED] * torch.tensor([-1.0, 1.0]), offset)


def test_refined_landmarks_are_nearer_to_the_annotations():
    faces, _ = make_faces(2.0, 2.0)
    found = learn_refinement(faces, MIRRORED)(faces.shape, faces.centroids, faces.to_image)
    assert face_errors(found, faces.truth).mean() < 0.8 * face_errors(faces.shape, faces.truth).mean()


def test_a_model_learns_from_its_own_fits():
    model = untrained_model()
    gray = (255 * torch.rand(3, 96, 96, generator=seeded(4))).to(torch.uint8)
    truth = (model.pdm.mean[:, :2] * 0.4 + 48).expand(3, 68, 2)
    told = []
    faces = FaceCrops(gray=gray, landmarks=truth)
    assert with_refinement(model, faces, MIRRORED, 0, lambda *step: told.append(step)) is model
    count = model.num_scales
    assert [step[:3] for step in told] == [("refinement", number + 1, count) for number in range(count)]
    fitted = LandmarkDetector(model, "exact").fit(gray[:, None], box_around(truth), torch.arange(3))
    assert bool(fitted.success.any()) == (model.refinement is not None)


def test_a_model_that_fits_nothing_stays_without():
    model, black = untrained_model(), torch.zeros(2, 40, 40, dtype=torch.uint8)
    # Fits of faces that small fail
    nowhere = FaceCrops(gray=black, landmarks=20 + 3 * torch.rand(2, 68, 2))
    assert with_refinement(model, nowhere, MIRRORED, 0).refinement is None
