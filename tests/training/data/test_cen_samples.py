"""Training samples of CEN experts: views and their faces, areas around landmarks, patches and their targets."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION, ImageAugmentation
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.cen_samples import (
    AREAS,
    AlignedFaces,
    CenViews,
    ViewRows,
    faces_of_views,
    gaussian_maps,
    patch_batches,
    views_with_faces,
)
from clnf_torch.training.data.crops import FaceCrops
from tests.factories import MIRROR, N, seeded
from tests.training.patterned_faces import SIDE, mirror, patterned_faces, pdm

EVERY = torch.arange(N)


def upright(crops: FaceCrops, levels: int = 1) -> AlignedFaces:
    params = params_from_landmarks(pdm(), crops.landmarks)
    return AlignedFaces.of(crops, pdm(), params, 0.4, mirror(), levels)


def sampler(seed: int = 1) -> Sampler:
    return Sampler(seeded(seed), torch.device("cpu"))


def rows(*face: int, flip: bool = False) -> ViewRows:
    return ViewRows(torch.tensor(face), torch.full((len(face),), flip))


def test_areas_are_those_that_the_fit_cuts():
    crops = patterned_faces(3)
    faces = upright(crops)
    offsets = torch.zeros(3, N, 2)
    cut = faces.cut(rows(0, 1, 2), offsets, EVERY, 0, NO_AUGMENTATION, sampler())
    images = ImageBatch(crops.gray, torch.arange(3))
    expected = images.cut_areas(crops.landmarks, faces.to_crop, 19, on_32nds=False)
    torch.testing.assert_close(cut, expected, rtol=0, atol=0.05)


def test_offsets_move_areas_by_reference_pixels():
    faces = upright(patterned_faces(2))
    still = faces.cut(rows(0, 1), torch.zeros(2, N, 2), EVERY, 0, NO_AUGMENTATION, sampler())
    moved = faces.cut(rows(0, 1), torch.tensor([2.0, -3.0]).expand(2, N, 2), EVERY, 0, NO_AUGMENTATION, sampler())
    torch.testing.assert_close(moved[..., 3:, :-2], still[..., :-3, 2:], rtol=0, atol=0.05)


def test_mirrored_faces_are_those_of_mirrored_images():
    crops = patterned_faces(2)
    there = FaceCrops(
        gray=crops.gray.flip(-1),
        landmarks=(crops.landmarks * torch.tensor([-1.0, 1.0]) + torch.tensor([SIDE - 1.0, 0.0]))[:, list(MIRROR)],
    )
    faces, params = upright(crops), params_from_landmarks(pdm(), crops.landmarks)
    turned_back = faces.to_crop * torch.tensor([[1.0, -1.0], [-1.0, 1.0]])  # a mirrored turn goes the other way
    other = AlignedFaces((there.gray,), there.landmarks, turned_back, mirror())
    offsets = 4 * torch.randn(2, N, 2, generator=seeded(3)).round()
    mirrored = faces.cut(rows(0, 1, flip=True), offsets, EVERY, 0, NO_AUGMENTATION, sampler())
    torch.testing.assert_close(
        mirrored, other.cut(rows(0, 1), offsets, EVERY, 0, NO_AUGMENTATION, sampler()), rtol=0, atol=0.05
    )
    assert len(params) == 2 and not torch.allclose(
        mirrored, faces.cut(rows(0, 1), offsets, EVERY, 0, NO_AUGMENTATION, sampler())
    )


def test_smaller_images_show_the_same_place():
    faces = upright(patterned_faces(2), levels=2)
    sharp, smooth = (
        faces.cut(rows(0, 1), torch.zeros(2, N, 2), EVERY, level, NO_AUGMENTATION, sampler()) for level in range(2)
    )
    assert not torch.equal(sharp, smooth)
    likeness = torch.corrcoef(torch.stack((sharp.flatten(), smooth.flatten())))[0, 1]
    assert likeness > 0.97


def test_an_epoch_shows_every_face_eleven_times_and_once_nearby():
    faces = upright(patterned_faces(5))
    batches = list(patch_batches(faces, rows(0, 1, 2, 3, 4), EVERY[:3], 4, 1.0, NO_AUGMENTATION, sampler()))
    pixels = torch.cat([batch.pixels for batch in batches], 1)
    target = torch.cat([batch.target for batch in batches], 1)
    assert pixels.shape == (3, 5 * AREAS * 81, 121) and target.shape == pixels.shape[:2]
    assert max(batch.target.shape[1] for batch in batches) == 4 * 81
    torch.testing.assert_close(pixels.sum(-1), torch.zeros(3, 5 * AREAS * 81), rtol=0, atol=1e-4)
    length = pixels.norm(dim=-1)
    assert (((length - 1).abs() < 1e-4) | (length == 0)).all()  # 0 beside the image, where all is black
    peaks = target.view(3, -1, 81).amax(-1)
    assert (peaks > 0.99).sum() >= 3 * 5  # where the landmark lies in the area
    assert (peaks < 0.01).sum() > 3 * 5 * 4  # most areas are far away


def test_targets_are_one_at_the_landmark():
    maps = gaussian_maps(torch.tensor([[2.0, -1.0]]), 9, sigma=1.0)[0]
    assert int(maps.argmax()) == (4 + 1) * 9 + (4 - 2)  # the landmark lies 2 to the left of the middle and 1 below it
    assert float(maps[5, 2]) == 1 and float(maps[5, 4]) == pytest.approx(0.1353, abs=1e-4)  # exp(-2)


def test_patches_at_the_landmark_look_like_its_spot():
    faces = upright(patterned_faces(6))
    (batch,) = patch_batches(faces, rows(*range(6)), EVERY[:1], 999, 1.0, NO_AUGMENTATION, sampler())
    at = batch.pixels[0][batch.target[0] > 0.99].view(-1, 11, 11).mean(0)
    assert int(at.argmax()) == 5 * 11 + 5  # a bright spot in the middle


def test_images_are_augmented_on_demand():
    faces = upright(patterned_faces(4))
    zero = torch.zeros(4, N, 2)
    clean, photometric = (
        faces.cut(rows(0, 1, 2, 3), zero, EVERY, 0, ImageAugmentation(photometric=photometric), sampler())
        for photometric in (False, True)
    )
    assert not torch.allclose(clean, photometric, atol=1)
    again = faces.cut(rows(0, 1, 2, 3), zero, EVERY, 0, ImageAugmentation(photometric=True), sampler())
    assert torch.equal(photometric, again)


def yaws(*degrees: float) -> torch.Tensor:
    rotation = torch.zeros(len(degrees), 3)
    rotation[:, 1] = torch.tensor(degrees).deg2rad()
    return rotation


def test_openfaces_views_are_symmetric():
    views = CenViews()
    assert views.mirror == (0, 6, 5, 4, 3, 2, 1) and views.trained == (0, 1, 2, 3)
    torch.testing.assert_close(views.centers[views.mirror, 1], -views.centers[:, 1])


def test_faces_go_to_the_nearest_view_and_their_mirror_images_to_its_opposite():
    rows = faces_of_views(CenViews(), yaws(0, -22, 19, -44, 60, 80))
    found = {view: list(zip(some.face.tolist(), some.flip.tolist(), strict=True)) for view, some in rows.items()}
    assert found == {
        0: [(0, False), (0, True)],
        1: [(1, False), (2, True)],
        2: [(3, False)],
        3: [(4, True), (5, True)],
    }


def test_the_other_angles_are_mirrored_too():
    rotation = torch.tensor([[0.0, 0.35, 0.0], [0.9, -1.0, 0.9]])
    rows = faces_of_views(CenViews((0.0, -20.0, 20.0)), rotation)
    assert rows[1].face.tolist() == [1, 0] and rows[1].flip.tolist() == [False, True]


def test_in_profile_the_far_half_is_hidden():
    left = torch.tensor([True, False, True, True, False])
    visible = CenViews().visible(left, torch.tensor(MIRROR))
    assert visible[[0, 1, 2, 5, 6]].all()
    assert torch.equal(visible[3], left) and visible[4].tolist() == [False, True, True, False, True]


@pytest.mark.parametrize(
    ("least", "stay"),
    [
        (1, (0.0, -20.0, -45.0, -70.0, 70.0, 45.0, 20.0)),
        (2, (0.0, -20.0, -45.0, 45.0, 20.0)),
        (4, (0.0, -20.0, 20.0)),
        (9, (0.0,)),
    ],
)
def test_views_with_too_few_faces_leave_theirs_to_the_neighbours(least, stay):
    rotation = yaws(0, 0, 0, -21, 22, -44, 45, 72)
    views = views_with_faces(rotation, least)
    assert views.yaws == stay
    assert sum(len(rows.face) for rows in faces_of_views(views, rotation).values()) >= len(rotation)


def test_faces_of_a_view_that_left_are_counted_where_they_go():
    rotation = yaws(-70, -70, -45, -45)
    assert views_with_faces(rotation, 3).yaws == (0.0, -45.0, 45.0)
