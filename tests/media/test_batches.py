"""Which images are fitted together, and that it makes no difference."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from clnf_torch.media import batches
from clnf_torch.media.batches import MAX_FACES, MAX_FRAMES, Job, in_batches

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


def test_large_photographs_are_few_together_or_alone():
    # A photograph of 48 megapixels, without its memory
    photograph = replace(job("a"), image=torch.zeros((), dtype=torch.uint8).expand(3, 6000, 8000))
    assert names([photograph] * 3) == [["a"]] * 3
    frame = replace(job("f"), image=torch.zeros((), dtype=torch.uint8).expand(3, 1080, 1920))
    assert [len(batch) for batch in names([frame] * (MAX_FRAMES + 1))] == [MAX_FRAMES, 1]
    camera = replace(job("c"), image=torch.zeros((), dtype=torch.uint8).expand(3, 3000, 4000))
    assert [len(batch) for batch in names([camera] * 7)] == [5, 2]


def test_every_box_knows_its_image():
    (batch,) = in_batches([job("a", boxes=2), job("b", boxes=1)])
    frames, boxes, image_index = batch.tensors()
    assert frames.shape == (2, 3, 6, 8)
    assert boxes.tolist() == [list(BOX)] * 3
    assert image_index.tolist() == [0, 0, 1]
    assert [(done.path.name, rows) for done, rows in batch.rows()] == [("a", slice(0, 2)), ("b", slice(2, 3))]


def test_frames_are_the_images_however_these_lie_in_memory():
    planes = torch.arange(3 * 6 * 8, dtype=torch.uint8).view(3, 6, 8)
    interleaved = planes.movedim(0, -1).contiguous().movedim(-1, 0)
    images = [planes, interleaved, planes.flip(-1)]
    (batch,) = in_batches([Job(Path("a"), image, [BOX]) for image in images])
    assert torch.equal(batch.frames(), torch.stack(images))
    (alone,) = in_batches([Job(Path("a"), interleaved, [BOX])])
    assert torch.equal(alone.frames(), planes[None])
    assert alone.frames().data_ptr() == interleaved.data_ptr()


def test_results_keep_the_order_and_do_not_depend_on_the_batch(clnf_torch_cli, bundle, image, box, tmp_path):
    whole = cv2.imread(str(image))
    names = {"a.png": whole, "b.png": whole[:220], "c.png": whole[::-1], "d.png": whole}
    for name, pixels in names.items():
        cv2.imwrite(str(tmp_path / name), pixels)
    other = [box[0] + 3, box[1] - 2, box[2], box[3]]
    table = {"a.png": [box, other], "b.png": [box], "c.png": [], "d.png": [other]}
    (tmp_path / "boxes.json").write_text(json.dumps(table))
    words = "--model", bundle, "--boxes", tmp_path / "boxes.json"
    together = json.loads(clnf_torch_cli("detect", *(tmp_path / name for name in names), *words).stdout)["faces"]
    alone = [
        face for name in names for face in json.loads(clnf_torch_cli("detect", tmp_path / name, *words).stdout)["faces"]
    ]
    assert [face["image"][-5:] for face in together] == ["a.png", "a.png", "b.png", "d.png"]
    assert [face["box"] for face in together] == [box, other, box, other]
    for one, same in zip(together, alone, strict=True):
        np.testing.assert_allclose(one["landmarks"], same["landmarks"], atol=1e-3)


@pytest.mark.parametrize(
    "error", [UnicodeDecodeError("ascii", b"\xe9", 0, 1, "x"), MemoryError(), RuntimeError("a\nb")]
)
def test_whatever_a_decoder_raises_ends_no_batch(monkeypatch, error):
    def read(path, note):
        if path.stem == "bad":
            raise error
        return torch.zeros(3, 9, 9, dtype=torch.uint8)

    monkeypatch.setattr(batches, "read_image", read)
    paths, lines = [Path("a.png"), Path("bad.png"), Path("b.png")], []
    found = list(batches.read_all(paths, lambda _, line: lines.append(line)))
    given = list(batches.read_jobs(paths, lambda _: [[1, 1, 5, 5]], lambda _, line: lines.append(line)))
    assert [job.path.stem for job in found] == [job.path.stem for job in given] == ["a", "b"]
    assert [line.startswith(f"bad.png: {type(error).__name__}") for line in lines] == [True, True]
