"""Template matching against OpenCV's ``resize`` and ``matchTemplate``, and its quirks."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from clnf_torch.tracking import VideoTracker
from clnf_torch.tracking.template import TEMPLATE_SCALE, Templates, cut_templates, template_shift
from tests.factories import make_images
from tests.tracking.world import MANY, SINGLE, Fitter, frame

IMAGES = make_images(2, 150, 200).to(torch.uint8)


def moved(right: int, down: int) -> torch.Tensor:
    """The images, with everything further right and down."""
    return IMAGES.roll((down, right), (1, 2))


def opencv_shift(template: np.ndarray, gray: np.ndarray, box: list[float], scale: float) -> np.ndarray:
    """`template_shift` of one face, with OpenCV."""
    x, y, width, height = box
    left, top, right, bottom = int(x - width / 2), int(y - height / 2), int(2 * width), int(2 * height)
    right, bottom = min(left + right, gray.shape[1]), min(top + bottom, gray.shape[0])
    left, top = max(left, 0), max(top, 0)
    region, factor = gray[top:bottom, left:right], min(TEMPLATE_SCALE / scale, 1.0)
    template = cv2.resize(template, None, fx=factor, fy=factor)
    score = cv2.matchTemplate(cv2.resize(region, None, fx=factor, fy=factor), template, cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(score.argmax(), score.shape)
    return np.array([column / factor + left - x, row / factor + top - y])


@pytest.mark.parametrize("scale", [0.2, 0.3, 0.45, 0.9])
@pytest.mark.parametrize(("right", "down"), [(0, 0), (9, -4), (-6, 11)])
def test_as_opencv(scale, right, down):
    boxes = torch.tensor([[60.3, 50.8, 48.2, 39.9], [90.0, 41.5, 30.7, 52.2], [-3.6, 20.0, 40.0, 40.0]])
    image = torch.tensor([0, 1, 1])
    templates = cut_templates(IMAGES, image, boxes)
    gray = moved(right, down)
    found = template_shift(templates, gray, image, boxes, torch.full((3,), scale))
    for n, box in enumerate(boxes.tolist()):
        width, height = templates.size[n].tolist()
        template = templates.pixels[n, :height, :width].numpy()
        expected = opencv_shift(template, gray[image[n]].numpy(), box, scale)
        np.testing.assert_allclose(found[n].numpy(), expected, atol=1e-4)


def test_cut_off_to_whole_pixels_and_by_the_border():
    boxes = torch.tensor([[10.9, 20.9, 5.9, 7.9], [-3.5, 146.5, 8.0, 9.0], [300.0, 5.0, 9.0, 9.0], [torch.nan] * 4])
    templates = cut_templates(IMAGES, torch.zeros(4, dtype=torch.int64), boxes)
    assert templates.size.tolist() == [[5, 7], [5, 4], [0, 0], [0, 0]]
    assert torch.equal(templates.pixels[0, :7, :5], IMAGES[0, 20:27, 10:15])
    assert torch.equal(templates.pixels[1, :4, :5], IMAGES[0, 146:150, 0:5])


def test_the_shift_of_an_unchanged_image_is_not_nothing():
    """OpenFace: boxes are cut off to whole pixels, the shift is measured from where they were."""
    boxes = torch.tensor([[60.53, 50.49, 40.0, 40.0], [-20.0, 50.0, 60.0, 40.0]])
    image = torch.zeros(2, dtype=torch.int64)
    shift = template_shift(cut_templates(IMAGES, image, boxes), IMAGES, image, boxes, torch.full((2,), 0.2))
    torch.testing.assert_close(shift, torch.tensor([[-0.53, -0.49], [20.0, 0.0]]), atol=1e-4, rtol=0)


def test_shifts_are_multiples_of_the_reduced_pixel():
    boxes, image = torch.tensor([[60.0, 50.0, 64.0, 64.0]]), torch.zeros(1, dtype=torch.int64)
    shift = template_shift(cut_templates(IMAGES, image, boxes), moved(7, 3), image, boxes, torch.tensor([1.2]))
    torch.testing.assert_close(shift / 4, (shift / 4).round(), atol=1e-5, rtol=0)


def test_faces_without_an_image_or_a_place_stay():
    boxes, image = torch.tensor([[60.0, 50.0, 40.0, 40.0], [180.0, 50.0, 60.0, 40.0]]), torch.tensor([0, 0])
    none = Templates.none(2, torch.device("cpu"))
    assert not template_shift(none, IMAGES, image, boxes, torch.ones(2)).any()
    large = Templates(IMAGES[:, :140, :190], torch.tensor([[190, 140], [0, 0]]))
    assert not template_shift(large, IMAGES, image, boxes, torch.ones(2)).any()
    beside = cut_templates(IMAGES, image, boxes)
    assert not template_shift(beside, IMAGES, image, boxes + 1e4, torch.ones(2)).any()


def test_flat_images_go_to_the_first_place():
    """OpenCV: everything matches an image of one gray level."""
    flat = torch.full((1, 100, 100), 7, dtype=torch.uint8)
    boxes, image = torch.tensor([[40.0, 40.0, 20.0, 20.0]]), torch.tensor([0])
    shift = template_shift(cut_templates(flat, image, boxes), flat, image, boxes, torch.tensor([0.2]))
    assert shift.tolist() == [[-10.0, -10.0]]


def test_faces_do_not_see_each_other():
    boxes = torch.tensor([[60.3, 50.8, 48.2, 39.9], [90.0, 41.5, 30.7, 52.2]])
    image, scale, gray = torch.tensor([0, 1]), torch.tensor([0.4, 0.8]), moved(5, 5)
    templates = cut_templates(IMAGES, image, boxes)
    both = template_shift(templates, gray, image, boxes, scale)
    for n in range(2):
        rows = slice(n, n + 1)
        alone = template_shift(
            cut_templates(IMAGES, image[rows], boxes[rows]), gray, image[rows], boxes[rows], scale[rows]
        )
        torch.testing.assert_close(alone, both[rows])


@pytest.mark.parametrize("config", [SINGLE, MANY], ids=["single", "many"])
def test_a_template_reaches_further_than_the_windows(config):
    """Jumps that the fit alone cannot follow; no whole frame is searched meanwhile."""
    walk = [frame((x, 60, 80)) for x in (60, 78, 96)]
    for image, x in zip(walk, (60, 78, 96), strict=True):
        image[50:56, x - 10 : x - 4] = 0  # an eye, so that the template is no flat one
    for template in (False, True):
        tracker = VideoTracker(Fitter(least=1300), None, replace(config, template=template))
        state = tracker.place(tracker.begin(), torch.tensor([[40.0, 40, 40, 40]]))
        success = []
        for image in walk:
            state, result = tracker.step(state, image[None])
            success.append(result.success.item())
        assert success == [True, template, template]
