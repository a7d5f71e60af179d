"""How often the host waits for the face detector, and how many operations it starts; shown without a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.detection import mtcnn as mtcnn_module
from clnf_torch.detection import proposals as proposals_module
from clnf_torch.detection.box_tables import Capacity, FixedTables, Tables
from clnf_torch.detection.pyramid import PaddedFrames, pyramid_scales
from tests.detection.test_mtcnn import make_frames
from tests.mtcnns import make_mtcnn
from tests.transfers import count_transfers

# Rows that anything found in the small frames fits into, and rows that hardly anything does
ROOMY = Capacity(cells=1024, proposals=512, faces=256, neighbours=256, passes=12)
TIGHT = Capacity(cells=2, proposals=1, faces=1, neighbours=1, passes=1)
# Of nine levels of the pyramid; each more adds the layers of the proposal network
MOST_LAUNCHES = 620


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Tables of fixed size, and no blocks that keep memory small."""
    monkeypatch.setattr(mtcnn_module, "READABLE", set())
    monkeypatch.setattr(mtcnn_module, "CPU_CROPS", 1 << 20)
    monkeypatch.setattr(proposals_module, "CPU_PIXELS", 1 << 30)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("frames", [1, 5])
def test_one_number_is_read_and_nothing_is_sent(frames):
    detector, images = make_mtcnn(), make_frames(frames).to(torch.uint8)
    detector._capacity = ROOMY
    counted = count_transfers(lambda: detector.detect(images))
    assert counted.to_host == {"tolist": 1}
    assert counted.to_device.total() == 0


def launches(frames: int, height: int, width: int) -> int:
    """Of a whole search, on the meta device, where nothing can be read."""
    detector = make_mtcnn(torch.float32).to("meta")
    images = PaddedFrames.of(torch.zeros(frames, 3, height, width, dtype=torch.uint8, device="meta"))
    scales = pyramid_scales(height, width, detector.config.min_face, detector.config.factor)
    assert len(scales) == 9

    def search() -> torch.Tensor:
        tables = FixedTables(Capacity(), frames)
        tables.compact(detector._cascade(images, scales, tables).valid, "faces")
        return tables.needed()

    counted = count_transfers(search)
    assert counted.to_host.total() == counted.to_device.total() == 0
    return counted.launches.total()


def test_launches_do_not_grow_with_the_frames():
    assert launches(1, 432, 768) <= launches(2, 432, 768) == launches(64, 432, 768) <= MOST_LAUNCHES


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("capacity", [ROOMY, TIGHT], ids=["roomy", "tight"])
def test_fixed_tables_change_no_face(monkeypatch, capacity):
    """Whatever did not fit is looked for again, in longer tables."""
    detector, images = make_mtcnn(), make_frames(4)
    images[2, 0, 3, 3] = torch.nan
    with monkeypatch.context() as patched:
        patched.setattr(mtcnn_module, "READABLE", {"cpu"})
        expected = detector.detect(images)
    detector._capacity = capacity
    found = detector.detect(images)
    assert len(expected.boxes) > 10
    torch.testing.assert_close(found.boxes, expected.boxes)
    torch.testing.assert_close(found.score, expected.score)
    assert torch.equal(found.image_index, expected.image_index)
    # It stays as large as was needed
    assert (detector._capacity == capacity) == (capacity is ROOMY)
    assert len(detector.detect(images).boxes) == len(expected.boxes)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_frames_that_show_nothing():
    detector = make_mtcnn()
    detector.config = mtcnn_module.MTCNNConfig(min_face=24, thresholds=(1.1, 0.4, 0.4))
    assert detector.detect(make_frames()).boxes.shape == (0, 4)


def test_capacities_grow_twofold():
    assert TIGHT.grown([0, 1, 0, 0, 0]) == TIGHT
    assert TIGHT.grown([5, 1, 3, 2, 2]) == Capacity(cells=8, proposals=1, faces=4, neighbours=2, passes=2)


def test_a_table_tells_what_it_lacked():
    tables = FixedTables(TIGHT, 2)
    mask = torch.tensor([False, True, True, False, True, True, True])
    index, valid = tables.compact(mask, "cells")
    assert index.tolist() == [1, 2, 4, 5] and valid.all()
    index, valid = tables.compact(mask & (torch.arange(7) < 2), "cells")
    assert index.tolist()[0] == 1 and valid.tolist() == [True, False, False, False]
    assert tables.needed().tolist() == [5, 1]
    assert tables.grown([5, 1]) == TIGHT.grown([3, 0, 0, 0, 0]) == replace(TIGHT, cells=4)
    assert Tables().compact(mask, "cells")[0].tolist() == [1, 2, 4, 5, 6]
