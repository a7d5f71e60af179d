"""Which images are fitted together."""

from __future__ import annotations

from pathlib import Path

import torch

from clnf_torch.cli.batches import MAX_FACES, MAX_FRAMES, Job, in_batches

BOX = (1.0, 2.0, 3.0, 4.0)


def job(name: str, width: int = 8, boxes: int = 1) -> Job:
    return Job(Path(name), torch.zeros(3, 6, width, dtype=torch.uint8), [BOX] * boxes)


def names(jobs: list[Job]) -> list[list[str]]:
    return [[job.path.name for job in batch.jobs] for batch in in_batches(jobs)]


def test_neighbours_of_one_size_share_a_batch():
    assert names([job("a"), job("b"), job("c", width=9), job("d")]) == [["a", "b"], ["c"], ["d"]]


def test_no_jobs_make_no_batches():
    assert names([]) == []


def test_batches_have_a_limit_of_frames_and_of_faces():
    assert [len(batch) for batch in names([job("a")] * (MAX_FRAMES + 1))] == [MAX_FRAMES, 1]
    assert names([job("a", boxes=MAX_FACES), job("b"), job("c")]) == [["a"], ["b", "c"]]
    assert names([job("crowd", boxes=2 * MAX_FACES)]) == [["crowd"]]


def test_every_box_knows_its_frame():
    (batch,) = in_batches([job("a", boxes=2), job("b", boxes=1)])
    frames, boxes, frame = batch.tensors()
    assert frames.shape == (2, 3, 6, 8)
    assert boxes.tolist() == [list(BOX)] * 3
    assert frame.tolist() == [0, 0, 1]
    assert [(done.path.name, rows) for done, rows in batch.rows()] == [("a", slice(0, 2)), ("b", slice(2, 3))]
