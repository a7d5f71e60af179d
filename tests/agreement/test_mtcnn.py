"""MTCNN against OpenFace's: the boxes that enter each network, what comes out, and the choice of one face."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import pytest
import torch
from torch import Tensor

from clnf_torch.converters.openface.mtcnn import convert_mtcnn, find_mtcnn
from clnf_torch.detection import MTCNN, nearest, widest
from clnf_torch.detection.proposals import PaddedFrames, propose, pyramid_scales
from tests.agreement.golden import Golden
from tests.agreement.measure import Agreement

IMAGES = ("astronaut", "biden", "breakingbad", "lenna", "obama", "obama2", "takeo")
WITHIN_PIXELS = 1e-3  # of coordinates up to 2,000, whose float32 neighbours are 1e-4 apart; reached: 1.6e-4
WITHIN_SCORE = 1e-5  # of probabilities; reached: 2e-6, the rounding of three convolutions

each_image = pytest.mark.parametrize("name", IMAGES)


@pytest.fixture(scope="session")
def mtcnn(openface_models: Path) -> MTCNN:
    """OpenFace's face detector."""
    description = find_mtcnn(openface_models)
    assert description is not None
    return MTCNN.from_record(convert_mtcnn(description))


@pytest.fixture(scope="session")
def photograph(shared: Path) -> Callable[[str], Tensor]:
    """Photographs by name, RGB, uint8, shape (1, 3, H, W)."""

    @cache
    def read(name: str) -> Tensor:
        bgr = cv2.imread(str(shared / "images" / f"{name}.png"))
        return torch.from_numpy(bgr).flip(-1).permute(2, 0, 1)[None].contiguous()

    return read


def scored(golden: Golden, key: str) -> tuple[Tensor, Tensor]:
    """Boxes (K, 4) and scores (K,) of a stage."""
    boxes, score = golden[key][0].split((4, 1), dim=-1)
    return boxes, score[:, 0]


def in_order(boxes: Tensor) -> Tensor:
    """Boxes (K, 4) sorted by their numbers; the order of scores is checked by the scores."""
    return torch.tensor(sorted(boxes.tolist()))


@each_image
def test_every_stage(mtcnn, photograph, golden, agree: Agreement, name):
    """Whole-pixel boxes are the same ones in the same order; the last ones agree to the rounding of float32.

    Some scores are 3e-6 apart: processors that add up in another order may exchange such neighbours.
    """
    expected, images = golden(f"mtcnn_{name}").below("mtcnn"), PaddedFrames.of(photograph(name))
    scales = pyramid_scales(images.height, images.width, mtcnn.config.min_face, mtcnn.config.factor)
    with torch.inference_mode():
        proposed = propose(mtcnn.proposer, images, scales, mtcnn.config.thresholds[0], torch.float32)
        refine, output, final = mtcnn.stages(proposed, images)
    stages = {
        "pnet_boxes_after_scale_nms": (proposed, 0.0),
        "rnet_in": (refine, 0.0),
        "onet_in": (output, 0.0),
        "onet_out": (final, WITHIN_PIXELS),
    }
    for key, (found, within) in stages.items():
        boxes, score = scored(expected, key)
        agree.absolute(f"MTCNN: {key}, boxes", in_order(found.boxes), in_order(boxes), within=within, note=name)
        agree.absolute(f"MTCNN: {key}, scores", found.score, score, within=WITHIN_SCORE, note=name)


@each_image
def test_faces(mtcnn, photograph, golden, agree: Agreement, name):
    expected, faces = golden(f"mtcnn_{name}"), mtcnn.detect(photograph(name))
    agree.absolute("MTCNN: final boxes", faces.boxes, expected["boxes"][0], within=WITHIN_PIXELS, note=name)
    agree.absolute("MTCNN: scores", faces.score, expected["confidences"][0], within=WITHIN_SCORE, note=name)
    assert faces.image_index.tolist() == [0] * len(faces.boxes)


@each_image
def test_the_choice_of_one_face(mtcnn, photograph, golden, agree: Agreement, name):
    expected, faces = golden(f"mtcnn_{name}"), mtcnn.detect(photograph(name))
    single = widest(faces, 1)
    agree.absolute("MTCNN: the widest face", single.boxes, expected["single"], within=WITHIN_PIXELS, note=name)
    confidence = expected["single_confidence"].reshape(1)
    agree.absolute("MTCNN: its score", single.score, confidence, within=WITHIN_SCORE, note=name)
    for box in faces.boxes:  # a point on each face chooses that face
        chosen = nearest(faces, (box[:2] + 0.6 * box[2:])[None])
        assert torch.equal(chosen.boxes[0], box)


def test_frames_of_a_batch_do_not_see_each_other(mtcnn, photograph):
    """Sizes of batches lead to other sums inside a convolution: equal to the rounding of float32, not bit for bit."""
    lenna, astronaut = photograph("lenna"), photograph("astronaut")
    together = mtcnn.detect(torch.cat((lenna, torch.zeros_like(lenna), astronaut, lenna)))
    assert together.image_index.tolist() == [0, 2, 3]
    for row, image in enumerate((lenna, astronaut, lenna)):
        alone = mtcnn.detect(image)
        torch.testing.assert_close(together.boxes[row : row + 1], alone.boxes, rtol=0, atol=WITHIN_PIXELS)
        torch.testing.assert_close(together.score[row : row + 1], alone.score, rtol=0, atol=WITHIN_SCORE)


def test_floating_point_and_gray_frames(mtcnn, photograph):
    """The numbers count, not their type; a gray frame is its three equal channels."""
    lenna = photograph("lenna")
    torch.testing.assert_close(mtcnn.detect(lenna.float()).boxes, mtcnn.detect(lenna).boxes, rtol=0, atol=WITHIN_PIXELS)
    gray = lenna[:, 1]
    three = mtcnn.detect(gray[:, None].expand(-1, 3, -1, -1))
    torch.testing.assert_close(mtcnn.detect(gray).boxes, three.boxes, rtol=0, atol=WITHIN_PIXELS)
    assert len(three.boxes) == 1
