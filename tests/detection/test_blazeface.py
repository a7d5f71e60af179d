"""`clnf_torch.detection.blazeface`: the networks beside TensorFlow Lite's, the choice of candidates, and all frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from clnf_torch.compilation.conditions import loops_in
from clnf_torch.detection import (
    BlazeFace,
    BlazeFaceConfig,
    MTCNNConfig,
    blazeface,
    blazeface_networks,
    load_face_detector,
)
from clnf_torch.detection.blazeface import keypoint_features, landmark_corners, merged
from clnf_torch.detection.blazeface_networks import NETWORKS, anchor_centres
from clnf_torch.files.archive import save_archive
from clnf_torch.geometry.boxes import box_iou
from clnf_torch.models.bundle import FORMAT, VERSION, BundleError, installed_file, load_bundle
from tests.factories import seeded
from tests.transfers import count_transfers

ROOT = Path(__file__).resolve().parent.parent.parent
# TensorFlow Lite adds up in another order; logits are up to 100, regressions up to 141
TOLERANCE = 2e-4


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    """A face in colour, (1, 3, 512, 512)."""
    cv2 = pytest.importorskip("cv2")
    image = cv2.cvtColor(cv2.imread(str(ROOT / "docs" / "images" / "astronaut.jpg")), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(image).permute(2, 0, 1)[None]


@pytest.fixture(scope="module", params=list(NETWORKS))
def detector(request) -> BlazeFace:
    return load_face_detector("blazeface", config=BlazeFaceConfig(network=request.param))


def test_answers_are_those_of_tensorflow_lite(detector):
    side, name = detector.network.side, detector.config.network
    image = np.random.default_rng(0).uniform(-1, 1, (1, side, side, 3)).astype(np.float32)
    with torch.no_grad():
        logits, regressions = detector.network(torch.from_numpy(image).permute(0, 3, 1, 2))
    with np.load(ROOT / "tests" / "golden" / "blazeface.npz") as golden:
        assert np.abs(logits[0, ::8].numpy() - golden[f"{name}_logits"]).max() < TOLERANCE
        assert np.abs(regressions[0, ::8].numpy() - golden[f"{name}_regressions"]).max() < TOLERANCE


@pytest.fixture
def images() -> torch.Tensor:
    pytest.importorskip("numba", reason="the compiled loops need numba")
    return 2 * torch.rand(6, 3, 192, 192, generator=seeded(5)) - 1


@torch.no_grad()
def test_loops_agree_with_torch(images, monkeypatch):
    network = load_face_detector("blazeface").network
    found = network(images)
    monkeypatch.setattr(blazeface_networks, "_loops", lambda: None)
    for own, expected in zip(found, network(images), strict=True):
        # Sums are taken in another order
        assert not torch.equal(own, expected)
        torch.testing.assert_close(own, expected, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_loops_give_an_image_the_same_alone_in_a_batch_and_in_threads(images):
    network = load_face_detector("blazeface").network
    found = network(images)
    with loops_in(1):
        alone = [network(image[None]) for image in images]
    with loops_in(2):
        shared = network(torch.cat((images, images)))
    for own, single, both in zip(found, zip(*alone, strict=True), shared, strict=True):
        assert torch.equal(torch.cat(single), own) and torch.equal(both, torch.cat((own, own)))


@torch.no_grad()
def test_loops_are_for_images_of_the_networks_size(images, monkeypatch):
    network = load_face_detector("blazeface").network
    found = network(images[:, :, :96, :128])
    monkeypatch.setattr(blazeface_networks, "_loops", lambda: None)
    for own, expected in zip(found, network(images[:, :, :96, :128]), strict=True):
        assert torch.equal(own, expected)


@torch.no_grad()
def test_loops_see_other_weights(images):
    network = load_face_detector("blazeface").network
    before, _ = network(images[:1])
    network.stem.weight.mul_(0.5)
    after, _ = network(images[:1])
    assert not torch.equal(before, after)


def test_anchors_lie_row_by_row_in_the_cells_middles():
    centres = anchor_centres(NETWORKS["short_range"].anchors)
    assert centres.shape == (896, 2)
    # Two in each cell of 8 pixels, then six in each of 16
    assert centres[[0, 1, 2, 32]].tolist() == [[1 / 32, 1 / 32]] * 2 + [[3 / 32, 1 / 32], [1 / 32, 3 / 32]]
    assert centres[512:519].tolist() == [[1 / 16, 1 / 16]] * 6 + [[3 / 16, 1 / 16]]
    assert anchor_centres(NETWORKS["full_range"].anchors)[49].tolist() == pytest.approx([1.5 / 48, 1.5 / 48])


def test_finds_the_face_and_only_it(detector, photograph):
    found = detector.detect(photograph)
    face = load_face_detector().detect(photograph)
    assert len(found.boxes) == 1 and found.score > 0.8 and found.image_index.tolist() == [0]
    assert box_iou(found.boxes, face.boxes) > 0.7


@pytest.mark.parametrize("size", [(512, 420), (400, 512), (128, 128), (700, 700)])
def test_the_box_moves_with_the_photograph(detector, photograph, size):
    """Wider or higher frames, and others of the face's own size."""
    plain = detector.detect(photograph).boxes
    side = min(size)
    small = torch.nn.functional.interpolate(photograph, (side, side), mode="bilinear", antialias=True)
    frame = torch.zeros(1, 3, *size, dtype=torch.uint8)
    top, left = size[0] - side, size[1] - side
    frame[:, :, top:, left:] = small
    (box,) = detector.detect(frame).boxes
    expected = plain[0] * (side / 512) + torch.tensor([left, top, 0, 0])
    assert box_iou(box, expected) > 0.75


def test_gray_frames_and_fractions_are_taken_too(detector, photograph):
    gray = photograph.float().mean(1)
    assert box_iou(detector.detect(gray).boxes, detector.detect(photograph).boxes) > 0.85
    colours = detector.detect(photograph.float())
    assert box_iou(colours.boxes, detector.detect(photograph).boxes) > 0.97


def test_a_frame_does_not_see_its_neighbours(detector, photograph):
    frames = torch.cat((photograph, torch.zeros_like(photograph), photograph.flip(3), photograph.roll(60, 2)))
    together = detector.detect(frames)
    assert together.image_index.tolist() == [0, 2, 3]
    for number in range(4):
        alone = detector.detect(frames[number : number + 1])
        rows = together.image_index == number
        assert torch.equal(alone.boxes, together.boxes[rows]) and torch.equal(alone.score, together.score[rows])


def test_nothing_and_damaged_frames_have_no_faces(detector, photograph):
    for shape in ((0, 3, 64, 64), (2, 3, 0, 64), (0, 0, 0)):
        assert detector.detect(torch.zeros(shape)).boxes.shape == (0, 4)
    frames = photograph.float().repeat(4, 1, 1, 1)
    frames[1, 0, 5, 5], frames[2, 2, 511, 511] = torch.nan, torch.inf
    found = detector.detect(frames)
    assert found.image_index.tolist() == [0, 3] and found.boxes.isfinite().all()
    assert len(detector.detect(torch.zeros(1, 1, 1, 1)).boxes) == 0


def test_one_number_is_read_and_nothing_is_sent(detector, photograph, monkeypatch):
    # The loops read what they work on
    monkeypatch.setattr(blazeface_networks, "_loops", lambda: None)
    detector.detect(photograph)
    counted = count_transfers(lambda: detector.detect(photograph))
    assert counted.to_host == {"tolist": 1} and counted.to_device.total() == 0


def test_launches_do_not_grow_with_the_frames(detector):
    """On the meta device, where nothing can be read."""
    there = load_face_detector("blazeface", "meta", config=detector.config)

    def launches(frames: int) -> int:
        images = torch.zeros(frames, 3, there.network.side, there.network.side, device="meta")
        counted = count_transfers(lambda: there.candidates(*there.answers(images)))
        assert counted.to_host.total() == counted.to_device.total() == 0
        return counted.launches.total()

    assert launches(1) == launches(64)


def test_more_faces_than_room_are_all_found(detector, photograph):
    """Where a frame has more candidates than are compared, they are compared again."""
    config = replace(detector.config, threshold=0.1)
    tight, roomy = (load_face_detector("blazeface", config=config) for _ in range(2))
    tight._candidates, tight._passes = 1, 1
    found, expected = tight.detect(photograph), roomy.detect(photograph)
    assert torch.equal(found.boxes, expected.boxes) and tight._candidates > 1


def merged_one_by_one(points, weight, valid, max_iou):
    """The same without tensors: the best one takes what overlaps it, then the best of the rest."""
    boxes = torch.cat((points[:, 0] - points[:, 1] / 2, points[:, 1]), -1)
    left, kept, means = [row for row in range(len(points)) if valid[row]], [], []
    while left:
        first = left[0]
        own = [row for row in left if box_iou(boxes[first], boxes[row]) > max_iou]
        share = weight[own] / weight[own].sum()
        kept.append(first)
        means.append((share[:, None, None] * points[own]).sum(0))
        left = [row for row in left if row not in own]
    return kept, torch.stack(means)


def test_weighted_suppression_equals_one_box_at_a_time():
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(3, 24, 8, 2, generator=generator, dtype=torch.float64)
    points[:, :, 1] = 0.2 + 0.2 * points[:, :, 1]
    weight = torch.rand(3, 24, generator=generator, dtype=torch.float64).sort(descending=True).values
    valid = weight > 0.2
    kept, means, unsettled = merged(points, weight * valid, valid, 0.3, passes=24)
    assert unsettled == 0
    for frame in range(3):
        rows, expected = merged_one_by_one(points[frame], weight[frame], valid[frame], 0.3)
        assert kept[frame].nonzero().squeeze(1).tolist() == rows and 1 < len(rows) < valid[frame].sum()
        torch.testing.assert_close(means[frame, rows], expected)


class LargestTensor(TorchDispatchMode):
    """Remembers how many numbers the largest tensor has that an operation makes."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Looks at what was made, views of it aside."""
        made = function(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else (made,):
            self.numbers = max(self.numbers, one.untyped_storage().nbytes() // one.element_size())
        return made


def test_memory_of_suppression_does_not_grow_with_the_frames(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    frames, count = 64, 100
    points = torch.rand(frames, count, 8, 2, generator=generator)
    weight = torch.rand(frames, count, generator=generator).sort(descending=True).values
    arguments = points, weight, weight > 0.2, 0.3, 24
    expected = merged(*arguments)
    monkeypatch.setattr(blazeface, "PAIRS", 4 * count**2)
    with LargestTensor() as largest:
        found = merged(*arguments)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert largest.numbers <= 16 * 4 * count**2
    # One frame is the least
    monkeypatch.setattr(blazeface, "PAIRS", 1)
    assert torch.equal(merged(*arguments)[1], expected[1])


def test_suppression_among_no_frames_has_no_faces():
    none = torch.zeros(0, 5)
    kept, means, unsettled = merged(torch.zeros(0, 5, 8, 2), none, none.bool(), 0.3, 6)
    assert kept.shape == (0, 5) and means.shape == (0, 5, 8, 2) and unsettled == 0


def test_boxes_of_landmarks_follow_the_keypoints():
    """Moved and enlarged faces have moved and enlarged boxes."""
    generator = torch.Generator().manual_seed(1)
    points, to_landmarks = (
        torch.rand(5, 8, 2, generator=generator).double(),
        torch.randn(4, 13, generator=generator).double(),
    )
    corners = landmark_corners(points, to_landmarks)
    moved = 3 * points + 2
    moved[:, 1] = 3 * points[:, 1]
    torch.testing.assert_close(landmark_corners(moved, to_landmarks), 3 * corners + 2)
    assert torch.equal(keypoint_features(points)[:, -1], torch.ones(5, dtype=torch.float64))


def test_a_record_makes_the_same_detector(tmp_path, detector, photograph):
    path = tmp_path / "m.pt"
    save_archive({"format": FORMAT, "version": VERSION, "face_detector": detector.to_record()}, path)
    again = load_face_detector(path)
    assert again.config == detector.config
    assert torch.equal(again.detect(photograph).boxes, detector.detect(photograph).boxes)


def test_the_installed_one_is_small_and_says_whose_it_is():
    path = installed_file("blazeface.pt")
    assert path.stat().st_size < 1.5e6
    record = load_bundle(path)["face_detector"]
    assert "Apache License" in record["licence"] and "MediaPipe Authors" in record["licence"]
    for network in record["networks"].values():
        assert {value.dtype for value in network["weights"].values()} == {torch.float16}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["networks"].pop("full_range"), "holds no full_range"),
        (lambda record: record["networks"]["full_range"]["weights"].pop("stem.bias"), "stem.bias is not the network's"),
        (lambda record: record["networks"]["full_range"].update(to_landmarks=torch.zeros(4, 12)), "to_landmarks"),
        (lambda record: record.update(networks={"tiny": {}}), "a dictionary of short_range or full_range"),
        (lambda record: record.update(config={"treshold": 0.5}), "'treshold'"),
        (lambda record: record.update(config={"threshold": 2.0}), "threshold"),
    ],
)
def test_damaged_records_are_refused(tmp_path, change, message):
    record = load_bundle(installed_file("blazeface.pt"))["face_detector"]
    change(record)
    save_archive({"format": FORMAT, "version": VERSION, "face_detector": record}, tmp_path / "m.pt")
    with pytest.raises(BundleError, match=message):
        load_face_detector(tmp_path / "m.pt")


def test_settings_without_sense_are_refused():
    with pytest.raises(ValueError, match="'short_range' or 'full_range'"):
        BlazeFaceConfig(network="long")
    with pytest.raises(ValueError, match="between 0 and 1"):
        BlazeFaceConfig(threshold=60)
    with pytest.raises(TypeError, match="takes BlazeFaceConfig"):
        load_face_detector("blazeface", config=MTCNNConfig())
    with pytest.raises(BundleError, match="blazeface"):
        load_face_detector("blazefase")
