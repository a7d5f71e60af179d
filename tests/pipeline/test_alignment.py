"""`clnf_torch.align_faces`: where landmarks come to lie, what is read there, and what is masked."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import grid_sample

import clnf_torch
from clnf_torch import align_faces
from clnf_torch.geometry.rotation import rodrigues_to_matrix
from clnf_torch.pipeline.alignment import SCALE, SIZE
from tests.factories import make_pdm


@pytest.fixture(scope="module")
def pdm():
    """The shape of 68 landmarks that ships."""
    return clnf_torch.load().model.pdm.double()


def placed(pdm, zoom: float, turn: float, at: tuple[float, float]) -> torch.Tensor:
    """The mean shape in an image (1, N, 2): zoomed, turned in the image plane, and moved."""
    rotation = rodrigues_to_matrix(torch.tensor([[0.0, 0.0, turn]], dtype=pdm.mean.dtype))[:, :2, :2]
    return zoom * pdm.mean[None, :, :2] @ rotation.mT + pdm.mean.new_tensor(at)


def ramps(height: int, width: int) -> torch.Tensor:
    """An image whose three channels are x, y and their sum, (1, 3, H, W), float64."""
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return torch.stack((x, y, x + y))[None]


def test_every_pixel_shows_its_place_in_the_image(pdm):
    zoom, turn, at = 0.9, 0.4, (150.0, 140.0)
    (aligned,) = align_faces(ramps(300, 320), placed(pdm, zoom, turn, at), pdm, size=81, scale=0.5)
    middle = torch.tensor(at, dtype=torch.float64)
    torch.testing.assert_close(aligned[:2, 40, 40], middle)
    # 20 pixels to the right are 40 mm, along the turned axis
    along = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
    torch.testing.assert_close(aligned[:2, 40, 60], middle + 40 * zoom * along)
    torch.testing.assert_close(aligned[2], aligned[0] + aligned[1])


def test_equal_to_grid_sample(pdm, rng):
    frame = 255 * torch.rand(1, 3, 200, 210, generator=rng, dtype=torch.float64)
    landmarks = placed(pdm, 0.6, -0.3, (100.0, 95.0))
    (aligned,) = align_faces(frame, landmarks, pdm)
    places = align_faces(ramps(200, 210), landmarks, pdm)[:, :2].permute(0, 2, 3, 1)
    grid = 2 * places / (torch.tensor([209.0, 199.0], dtype=torch.float64)) - 1
    expected = grid_sample(frame, grid, align_corners=True)[0]
    inside = (places[0] > 0).all(-1) & (places[0, ..., 0] < 209) & (places[0, ..., 1] < 199)
    assert aligned.shape == (3, SIZE, SIZE) and inside.double().mean() > 0.8
    torch.testing.assert_close(aligned[:, inside], expected[:, inside])


def test_arrays_and_lists_are_aligned_as_tensors(pdm):
    landmarks = placed(pdm, 0.6, 0.1, (100.0, 95.0)).round().repeat(2, 1, 1)
    expected = align_faces(ramps(200, 210), landmarks, pdm, torch.zeros(2, dtype=torch.int64))
    for given in (landmarks.long().numpy(), landmarks.tolist()):
        assert torch.equal(align_faces(ramps(200, 210).numpy(), given, pdm, [0, 0]), expected)


def test_an_open_mouth_moves_nothing_else(pdm):
    closed = placed(pdm, 1.0, 0.0, (160.0, 150.0))
    opened = closed.clone()
    opened[:, 48:68, 1] += 15
    for frame in (ramps(320, 320), ramps(320, 320)[:, :1]):
        torch.testing.assert_close(align_faces(frame, opened, pdm), align_faces(frame, closed, pdm))


def test_faces_in_a_batch_do_not_see_each_other(pdm):
    landmarks = torch.cat([placed(pdm, 0.5 + 0.2 * face, 0.1 * face, (120.0, 130.0)) for face in range(3)])
    landmarks[1, 30] = torch.nan
    landmarks = torch.cat((landmarks, torch.full_like(landmarks[:1], 7.0)))
    frames = torch.cat((ramps(260, 250), 255 - ramps(260, 250)))
    index = torch.tensor([1, 0, 0, 1])
    found = align_faces(frames, landmarks, pdm, index, masked=True)
    assert not found[[1, 3]].any()
    for face in (0, 2):
        alone = align_faces(frames[index[face]][None], landmarks[face][None], pdm, masked=True)
        torch.testing.assert_close(found[face], alone[0])
    assert not align_faces(frames, landmarks[:2], pdm, torch.tensor([2, -1])).any()


def test_a_mask_leaves_the_face_and_its_forehead(pdm):
    white = torch.full((1, 1, 300, 300), 200, dtype=torch.uint8)
    ((mask,),) = align_faces(white, placed(pdm, 1.0, 0.2, (150.0, 150.0)), pdm, masked=True)
    shown, target = mask > 0, (SCALE * pdm.mean[:, :2] + (SIZE - 1) / 2).round().long()
    inner = target[17:]
    assert shown[inner[:, 1], inner[:, 0]].all() and not shown[[0, -1, 0, -1], [0, 0, -1, -1]].any()
    above, x = int(target[19, 1]), int(target[19, 0])
    assert shown[above - 13, x] and not shown[target[8, 1] + 2, target[8, 0]]
    assert mask[shown].unique().tolist() == [200.0]


def test_gradcheck(rng):
    pdm = make_pdm()
    frames = 255 * torch.rand(1, 1, 12, 12, generator=rng, dtype=torch.float64)
    landmarks = pdm.mean[None, :, :2] / pdm.mean.abs().max() * 4 + 5.3
    inputs = frames.requires_grad_(), landmarks.requires_grad_()
    assert torch.autograd.gradcheck(lambda f, p: align_faces(f, p, pdm, size=5, scale=0.2), inputs)


def test_no_faces_and_no_frames(pdm):
    assert align_faces(ramps(20, 20), torch.zeros(0, 68, 2), pdm).shape == (0, 3, SIZE, SIZE)
    none = align_faces(torch.zeros(0, 3, 8, 8), placed(pdm, 1, 0, (0, 0)), pdm, torch.tensor([0]))
    assert none.shape == (1, 3, SIZE, SIZE) and not none.any()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"landmarks": torch.zeros(1, 5, 2)}, r"landmarks have shape \(1, 5, 2\); expected real numbers of shape"),
        ({"frames": torch.zeros(2, 3, 8, 8)}, r"say with image_index \(B,\)"),
        ({"scale": 0.0}, "scale 0.0; expected pixels, and pixels per millimetre, above 0"),
        ({"size": 0}, "size is 0"),
        ({"size": 12.5}, "size is 12.5; expected a whole number of pixels"),
        ({"size": True}, "size is True; expected a whole number of pixels"),
        ({"landmarks": torch.ones(1, 68, 2) > 0}, "landmarks are True and False; expected real numbers"),
    ],
)
def test_wrong_arguments_are_named(pdm, change, sentence):
    given = {"frames": ramps(8, 8), "landmarks": torch.zeros(1, 68, 2), "pdm": pdm, **change}
    with pytest.raises(ValueError, match=sentence):
        align_faces(**given)
