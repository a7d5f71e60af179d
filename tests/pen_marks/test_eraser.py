"""Pen marks are taken away around faces, and nothing else is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import clnf_torch
from clnf_torch.cli.manifest import NAME as MANIFEST
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import BundleError, bundle_file
from clnf_torch.models.eraser_network import HALVINGS, EraserNetwork, filled
from clnf_torch.models.schema import Context, SchemaError
from clnf_torch.pen_marks.eraser import PenMarkEraser
from clnf_torch.training.augmentation.pen_marks import draw_pen_marks
from tests.media.videos import write_folder

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.jpg"
FACE = (100.0, 60.0, 80.0, 90.0)


@pytest.fixture(scope="module")
def eraser() -> PenMarkEraser:
    """One with random weights, which changes whatever it sees."""
    torch.manual_seed(3)
    network = EraserNetwork((8, 12, 16))
    nn.init.constant_(network.last.bias, 1.0)
    return PenMarkEraser(network.requires_grad_(False).eval())


def frames(count: int = 2, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, 240, 320), generator=generator, dtype=torch.uint8)


def test_normalisations_become_part_of_the_convolutions():
    torch.manual_seed(0)
    network = EraserNetwork((8, 12, 16), normalised=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    images = 255 * torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before, after = network.eval()(images), network.fused()(images)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-4)


def test_what_weighs_nothing_is_filled_from_around_it():
    slope = torch.linspace(50, 200, 64).expand(1, 3, 64, 64)
    weights = torch.ones(1, 1, 64, 64)
    weights[..., 20:26, 10:50] = 0
    drawn = torch.where(weights > 0, slope, 0.0)
    found = filled(drawn, weights, HALVINGS)
    assert torch.equal(torch.where(weights > 0, found, slope), slope)
    # Coarse to fine: within two steps of the slope
    assert (found - slope).abs().max() < 5
    assert torch.equal(filled(slope, torch.ones_like(weights), HALVINGS), slope)
    assert filled(drawn, torch.zeros_like(weights), HALVINGS).isfinite().all()


def test_a_filling_has_gradients_of_images_and_weights():
    torch.manual_seed(0)
    images = torch.rand(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    weights = (0.1 + 0.1 * torch.rand(1, 1, 8, 8, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: filled(*given, 3), (images, weights))


def test_a_record_makes_the_same_network(eraser):
    record = eraser.network.to_record()
    EraserNetwork.check_record(record, "eraser", Context({}))
    again = EraserNetwork.from_record(record).to_record()
    assert again["widths"] == record["widths"]
    assert all(torch.equal(again["weights"][name], value) for name, value in record["weights"].items())


@pytest.mark.parametrize("change", [{"widths": []}, {"widths": [8, 12]}, {"weights": {}}, {"widths": "8"}])
def test_records_of_other_sizes_are_refused(eraser, change):
    with pytest.raises(SchemaError):
        EraserNetwork.check_record({**eraser.network.to_record(), **change}, "eraser", Context({}))


def test_only_the_face_is_changed(eraser):
    given = frames()
    found = eraser.erase(given, torch.tensor([FACE]), torch.tensor([1]))
    changed = (found != given).any(1)
    assert found.dtype == torch.uint8 and not changed[0].any() and changed[1].float().mean() > 0.1
    rows, columns = changed[1].nonzero().unbind(1)
    middle, half = (140, 105 - 0.05 * 1.55 * 90), 1.55 * 90 / 2
    assert (columns - middle[0]).abs().max() <= half + 1 and (rows - middle[1]).abs().max() <= half + 1


def test_alone_as_among_others(eraser):
    given = frames()
    boxes = torch.tensor([FACE, (20.0, 20.0, 50.0, 60.0), (200.0, 120.0, 60.0, 60.0)])
    index = torch.tensor([0, 1, 1])
    together = eraser.erase(given, boxes, index)
    alone = eraser.erase(given[:1], boxes[:1])
    assert torch.equal(together[0], alone[0])


def test_a_square_beyond_the_frame(eraser):
    given = frames(1)
    found = eraser.erase(given, torch.tensor([(280.0, 200.0, 80.0, 90.0), (-500.0, 0.0, 50.0, 50.0)]))
    assert (found != given).any() and torch.equal(found[..., :100, :100], given[..., :100, :100])


@pytest.mark.parametrize("box", [(torch.nan, 0, 9, 9), (10, 10, 0, 20), (10, 10, 20, -5)])
def test_boxes_of_no_face_leave_frames_as_they_are(eraser, box):
    given = frames(1)
    assert torch.equal(eraser.erase(given, torch.tensor([box])), given)
    assert torch.equal(eraser.erase(given, torch.empty(0, 4)), given)
    beside = torch.tensor([FACE, box])
    assert torch.equal(eraser.erase(given, beside), eraser.erase(given, beside[:1]))
    assert torch.equal(eraser.erase(given, torch.tensor([FACE]), torch.tensor([7])), given)


def test_gray_frames_and_other_types(eraser):
    gray = frames(1, 1)
    found = eraser.erase(gray, torch.tensor([FACE]))
    assert found.shape == gray.shape and (found != gray).any()
    colour, real = frames(1), frames(1).double()
    rounded = eraser.erase(real, torch.tensor([FACE])).round().to(torch.uint8)
    # Halves are rounded either way
    differ = (rounded.int() - eraser.erase(colour, torch.tensor([FACE])).int()).abs()
    assert differ.max() <= 1 and differ.float().mean() < 1e-3
    corners = torch.tensor([(100.0, 60.0, 180.0, 150.0)])
    assert torch.equal(eraser.erase(colour, corners, box_format="xyxy"), eraser.erase(colour, torch.tensor([FACE])))


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_a_pixel_that_is_no_number_spoils_no_other(eraser, number):
    given = frames(1).float()
    given[..., 100, 140] = number
    found = eraser.erase(given, torch.tensor([FACE]))
    elsewhere = torch.ones(240, 320, dtype=torch.bool)
    elsewhere[100, 140] = False
    assert found[..., elsewhere].isfinite().all() and not torch.equal(found[..., elsewhere], given[..., elsewhere])


def test_other_bundles_are_named():
    with pytest.raises(BundleError, match=r"blazeface\.pt: holds no eraser of pen marks"):
        clnf_torch.load_pen_mark_eraser(bundle_file(None).with_name("blazeface.pt"))


def test_the_one_that_ships_takes_marks_away_and_leaves_faces_alone():
    image = read_image(ASTRONAUT)[None]
    found = clnf_torch.detect(image)
    landmarks, box = found.landmarks[:1], found.boxes[:1]
    eraser, left, before, untouched = clnf_torch.load_pen_mark_eraser(), [], [], []
    for seed in range(6):
        drawn = draw_pen_marks(image, landmarks, torch.Generator().manual_seed(seed))
        erased = eraser.erase(drawn, box)
        marks = ((drawn.int() - image.int()).abs().amax(1, keepdim=True) > 10).expand_as(image)
        before.append((drawn.int() - image.int()).abs()[marks].float().mean())
        left.append((erased.int() - image.int()).abs()[marks].float().mean())
        untouched.append((erased.int() - drawn.int()).abs()[~marks].float().mean())
    assert torch.stack(left).mean() < 0.6 * torch.stack(before).mean()
    assert torch.stack(untouched).mean() < 0.5
    assert (eraser.erase(image, box).int() - image.int()).abs().float().mean() < 0.2


def test_faces_are_fitted_without_their_marks():
    image = read_image(ASTRONAUT)[None]
    bare = clnf_torch.detect(image)
    drawn = draw_pen_marks(image, bare.landmarks[:1], torch.Generator().manual_seed(1))
    boxes = [bare.boxes[:1].tolist()]
    as_it_is, erased = (clnf_torch.detect(drawn, boxes=boxes, erase_marks=marks) for marks in (False, True))
    eraser = clnf_torch.load_pen_mark_eraser()
    by_hand = clnf_torch.detect(eraser.erase(drawn, torch.tensor(boxes[0])), boxes=boxes)
    assert torch.equal(erased.landmarks, by_hand.landmarks)
    assert not torch.equal(as_it_is.landmarks, erased.landmarks)


def test_faces_of_videos_are_fitted_without_their_marks():
    image = read_image(ASTRONAUT)[None]
    bare = clnf_torch.detect(image)
    drawn = draw_pen_marks(image, bare.landmarks[:1], torch.Generator().manual_seed(1)).repeat(2, 1, 1, 1)
    given: Any = {"box": bare.boxes[0].tolist(), "multi_view": False, "single_face": True}
    as_they_are, erased = (clnf_torch.track(drawn, erase_marks=marks, **given) for marks in (False, True))
    left, before = ((found.landmarks - bare.landmarks[:1]).norm(dim=-1).mean() for found in (erased, as_they_are))
    assert erased.success.all() and left < before


def test_the_commands_erase(clnf_torch_cli, tmp_path):
    done = clnf_torch_cli("detect", ASTRONAUT, "--csv", tmp_path / "faces.csv", "--erase-marks")
    assert done.exit_code == 0, done.stderr
    write_folder(tmp_path / "frames", [read_image(ASTRONAUT).permute(1, 2, 0).flip(2).numpy()] * 2)
    words = ("track", tmp_path / "frames", "--csv", tmp_path / "track.csv", "--no-multi-view")
    done = clnf_torch_cli(*words, "--erase-marks")
    assert done.exit_code == 0, done.stderr
    assert '"erase_marks": true' in (tmp_path / MANIFEST).read_text()
