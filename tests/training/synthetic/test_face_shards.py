"""Files of rendered faces: what is left to make, settings that change, round trips."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.cli.runs.train_render import contact_sheet, part_of
from clnf_torch.training.synthetic.face_shards import missing_shards, read_shards, shard_path, stack_faces, write_shard
from clnf_torch.training.synthetic.labels import FaceLabels, RenderedFace

SETTINGS = {"faces": 600, "seed": 1, "side": 16}


def made_up(number: int) -> RenderedFace:
    labels = FaceLabels(
        landmarks=torch.full((68, 2), float(number)), contour=torch.zeros(68, 2), points=torch.ones(68, 3),
        visible=torch.arange(68) > number, eyes=torch.zeros(2, 28, 2), eye_points=torch.zeros(2, 28, 3),
        eyes_visible=torch.ones(2, 28, dtype=torch.bool), gaze=torch.zeros(2, 3), rotation=torch.eye(3),
        translation=torch.zeros(3), camera=torch.zeros(3),
    )  # fmt: skip
    return RenderedFace(
        image=torch.full((3, 16, 16), number, dtype=torch.uint8), labels=labels, depth=torch.zeros(8, 8).half()
    )


def test_what_is_there_is_not_made_again(tmp_path):
    shards = missing_shards(tmp_path / "new", 600, SETTINGS)
    assert shards == [range(0, 256), range(256, 512), range(512, 600)]
    write_shard(shard_path(tmp_path / "new", shards[1]), stack_faces([made_up(1)]))
    assert missing_shards(tmp_path / "new", 600, SETTINGS) == [shards[0], shards[2]]


def test_other_settings_are_refused(tmp_path):
    missing_shards(tmp_path, 600, SETTINGS)
    with pytest.raises(ValueError, match="choose another folder or the same settings"):
        missing_shards(tmp_path, 600, {**SETTINGS, "seed": 2})


def test_faces_come_back_in_order(tmp_path):
    write_shard(shard_path(tmp_path, range(2, 4)), stack_faces([made_up(2), made_up(3)]))
    write_shard(shard_path(tmp_path, range(0, 2)), stack_faces([made_up(0), made_up(1)]))
    found = list(read_shards(tmp_path))
    assert [int(image[0, 0, 0]) for faces in found for image in faces.images] == [0, 1, 2, 3]
    assert found[1].landmarks[1, 5].tolist() == [3, 3] and not found[1].visible[1, 3]
    assert not list(tmp_path.glob("*.part*"))


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="clnf-torch train render"):
        next(read_shards(tmp_path))


def test_parts_share_all_files():
    shards = [range(256 * number, 256 * number + 256) for number in range(5)]
    assert sorted((r for i in (1, 2) for r in part_of(shards, f"{i}/2")), key=lambda r: r.start) == shards
    # A program that starts later has the same part
    assert part_of(shards[1:], "1/2") == part_of(shards, "1/2")[1:]
    # Even where the last file, which has fewer faces, is all that is left
    last = range(1280, 1300)
    assert part_of([last], "2/2") == [last] == part_of([*shards, last], "2/2")[-1:] and part_of([last], "1/2") == []
    for wrong in ("0/2", "3/2", "2"):
        with pytest.raises(ValueError, match="expected I/N"):
            part_of(shards, wrong)


def test_every_other_face_of_a_sheet_shows_landmarks():
    sheet = contact_sheet([made_up(number) for number in range(7)])
    assert sheet.shape == (32, 96, 3)
    assert (sheet[:16, :16] == 0).all() and (sheet[:16, 16:32] != 1).any()
