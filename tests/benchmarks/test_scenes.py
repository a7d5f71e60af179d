"""`benchmarks.scenes`: turned scenes keep their faces where they are."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("cv2")

from benchmarks.scenes import FrameBatch


def make_scene() -> FrameBatch:
    """A white rectangle, which is the face, on black."""
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    image[:, 4:10, 7:12] = 255
    extent, place = torch.tensor([7.0, 4.0, 4.0, 5.0]), torch.tensor([7.0, 4.0, 5.0, 6.0])
    return FrameBatch(image=image, extent=extent, place=place)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_boxes_turn_with_the_image(turns):
    scene = make_scene().turned(turns)
    rows, columns = scene.image[0].nonzero().T
    low = torch.stack((columns.min(), rows.min()))
    size = torch.stack((columns.max(), rows.max())) - low
    # From the first pixel's centre to the last one's; the place reaches from border to border
    assert scene.extent.tolist() == torch.cat((low, size)).tolist()
    assert scene.place.tolist() == torch.cat((low, size + 1)).tolist()


def test_four_quarter_turns_change_nothing():
    scene, turned = make_scene(), make_scene().turned(4)
    assert torch.equal(scene.image, turned.image) and torch.equal(scene.extent, turned.extent)
