"""Detectors and trackers in threads and in other processes give what they give alone, to the last bit."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from clnf_torch import FitResult, LandmarkDetector, VideoTracker
from tests.factories import CONFIG, make_boxes, make_images, make_model
from tests.test_batch_invariance import check_same
from tests.tracking.world import MANY, Fitter, Rectangles, frame

PATIENCE = 100  # seconds, after which a test fails that would wait for ever


def make_detector() -> LandmarkDetector:
    return LandmarkDetector(make_model(dtype=torch.float32), "openface")


def fit(detector: LandmarkDetector, image: Tensor) -> FitResult:
    """One face with hypotheses: a fit of few faces sets torch's number of threads where it is alone."""
    return detector.fit(image[None], make_boxes(1), preset=CONFIG, multi_view=True)


def track(walk: list[Tensor]) -> Any:
    """The last step through a video, of a tracker of one's own."""
    tracker = VideoTracker(Fitter(), Rectangles(), MANY)
    state = tracker.begin()
    for image in walk:
        state, result = tracker.step(state, image[None])
    return result


@pytest.fixture
def two_threads():
    """Torch's number of threads is 2, and is again afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    changed = torch.get_num_threads()
    torch.set_num_threads(before)
    assert changed == 2


@pytest.mark.parametrize("shared", [True, False], ids=["one detector", "a detector each"])
def test_threads_fit_at_once(shared, two_threads):
    images, detector = make_images(12).float(), make_detector()
    expected = [fit(detector, image) for image in images]
    detectors = [detector if shared else make_detector() for _ in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fit, detectors, images, timeout=PATIENCE))
        assert set(pool.map(lambda _: torch.get_num_threads(), range(12))) == {2}
    for one, other in zip(found, expected, strict=True):
        check_same(one, other)


def test_threads_track_at_once(two_threads):
    walks = [[frame((40 + 3 * t + 4 * k, 60, 80)) for t in range(8)] for k in range(4)]
    expected = [track(walk) for walk in walks]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(track, walks, timeout=PATIENCE), expected, strict=True):
            check_same(one, other)


def work(detector: LandmarkDetector, images: Tensor, answers: Any) -> None:
    """What a process does that was given a detector."""
    answers.put(fit(detector, images))
    answers.get()  # the memory of what was sent is this process's


def test_a_spawned_process_is_given_a_detector_and_sends_back_what_it_finds():
    context, detector, image = multiprocessing.get_context("spawn"), make_detector(), make_images()[0].float()
    answers: Any = context.Queue()
    worker = context.Process(target=work, args=(detector, image, answers), daemon=True)
    worker.start()
    found = answers.get(timeout=PATIENCE)
    check_same(found, fit(detector, image))


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="no fork server here")
def test_a_fork_server_takes_a_detector_of_more_tensors_than_open_files():
    context, detector, image = multiprocessing.get_context("forkserver"), make_detector(), make_images()[0].float()
    detector.unused = nn.ParameterList(torch.zeros(1) for _ in range(300))
    answers: Any = context.Queue()
    worker = context.Process(target=work, args=(detector, image, answers), daemon=True)
    worker.start()
    check_same(answers.get(timeout=PATIENCE), fit(detector, image))


def test_a_detector_that_is_sent_is_a_copy_unless_its_memory_is_shared():
    detector = make_detector()
    copy = ForkingPickler.loads(ForkingPickler.dumps(detector))
    assert not any(value.is_shared() for value in (*detector.buffers(), *copy.buffers()))
    check_same(fit(copy, make_images()[0].float()), fit(detector, make_images()[0].float()))
    detector.share_memory()
    shared = ForkingPickler.loads(ForkingPickler.dumps(detector))
    detector.model.pdm.mean.zero_()
    assert not shared.model.pdm.mean.any() and copy.model.pdm.mean.any()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_is_forked_after_a_fit_fits_as_well(two_threads):
    detector, images, boxes = make_detector(), make_images(12).float(), make_boxes(12)
    expected = detector.fit(images, boxes, preset=CONFIG)
    torch.ones(1 << 20).add(1)  # OpenMP's threads are there
    if not (child := os.fork()):
        signal.alarm(PATIENCE)
        try:
            torch.ones(1 << 20).add(1)
            check_same(detector.fit(images, boxes, preset=CONFIG), expected)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Frames(Dataset[tuple[Tensor, Tensor]]):
    """Frames with a box each, made where they are asked for."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        return make_images(4)[number].float(), make_boxes(4)[number]


def as_lists(items: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """Frames and boxes, which are not stacked."""
    frames, boxes = zip(*items, strict=True)
    return list(frames), list(boxes)


def test_workers_give_lists_of_frames_and_boxes():
    detector = make_detector()
    loader = DataLoader(Frames(), batch_size=2, num_workers=2, collate_fn=as_lists, timeout=PATIENCE)
    found = [detector.fit(frames, boxes, preset=CONFIG) for frames, boxes in loader]
    expected = detector.fit(make_images(4).float(), make_boxes(4), preset=CONFIG)
    for number, some in enumerate(found):
        check_same(some, expected[2 * number : 2 * number + 2])
