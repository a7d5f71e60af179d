"""The inputs of a job: globs, folders, lists and URLs; what has changed is another input."""

from __future__ import annotations

import os

import fsspec
import pytest

from clnf_torch.distributed.inputs import image_inputs, video_inputs
from clnf_torch.distributed.shards import in_shards, unfinished
from clnf_torch.distributed.storage import StorageError, as_url


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with three images, a list of two of them, and something else."""
    for name in ("10.png", "9.png", "b.JPG", "notes.md", ".hidden.png"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "list.txt").write_text("b.JPG\n\n9.png\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(found):
    return [each.name for each in found]


def test_a_folder_is_its_images_in_natural_order(folder):
    assert names(image_inputs(str(folder))) == [f"{folder}/{name}" for name in ("9.png", "10.png", "b.JPG")]


def test_drawings_beside_their_images_are_no_inputs(folder):
    for name in ("9_landmarks.png", "b.png", "b.avi", "c.mp4"):
        (folder / name).write_bytes(b"")
    (folder / "b_of_details.txt").write_text("Input:b.JPG\nOutput image:b.png\nOutput video:b.avi\n")
    assert names(image_inputs(str(folder))) == [f"{folder}/{name}" for name in ("9.png", "10.png", "b.JPG")]
    assert names(video_inputs(str(folder))) == [f"{folder}/c.mp4"]


def test_a_pattern_is_relative_as_it_was_given_and_a_name_counts_once(folder):
    assert names(image_inputs(["*.png", "9.png"])) == ["9.png", "10.png"]


def test_a_list_is_relative_to_its_folder(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert names(image_inputs(f"{folder.name}/list.txt")) == [f"{folder.name}/b.JPG", f"{folder.name}/9.png"]


def test_a_url_is_one_also_after_it_was_a_path(folder):
    assert as_url("memory:/videos/a.mp4") == as_url("memory://videos/a.mp4") == "memory://videos/a.mp4"
    assert as_url("C:/videos/a.mp4") == "C:/videos/a.mp4"


def test_an_object_store_is_listed():
    store = fsspec.filesystem("memory")
    store.pipe({"/clips/2.mp4": b"two", "/clips/10.mp4": b"ten!", "/clips/readme.md": b""})
    expected = ["memory:///clips/2.mp4", "memory:///clips/10.mp4"]
    for source in ("memory:///clips", "memory:///clips/*.mp4"):
        found = video_inputs(source)
        assert [each.name.replace("memory://clips", "memory:///clips") for each in found] == expected
        assert [each.bytes for each in found] == [3, 4]
        assert all(each.modified for each in found)


def test_what_is_missing_is_an_input_and_an_empty_pattern_is_refused(folder):
    (missing,) = image_inputs("gone.png")
    assert (missing.name, missing.url, missing.bytes, missing.modified) == ("gone.png", f"{folder}/gone.png", 0, "")
    with pytest.raises(StorageError, match=r"^z\*\.png: expected a pattern of images, found nothing of that name$"):
        image_inputs("z*.png")
    with pytest.raises(StorageError, match=r"expected a path or a URL that fsspec can open"):
        image_inputs("nowhere://a.png")


def test_a_folder_of_frames_is_one_video_and_one_of_videos_is_several(folder):
    assert names(video_inputs(str(folder))) == [str(folder)]
    (folder / "clip.mp4").write_bytes(b"")
    assert names(video_inputs(str(folder))) == [f"{folder}/clip.mp4"]


def test_shards_are_the_same_in_every_run_until_an_input_changes(folder):
    before = in_shards(image_inputs(str(folder)), "settings", 2)
    again = in_shards(image_inputs(str(folder)), "settings", 2)
    assert [shard.name for shard in before] == [shard.name for shard in again]
    assert [len(shard.inputs) for shard in before] == [2, 1]
    finished = {(each.name, each.bytes, each.modified) for each in before[0].inputs}
    assert unfinished(again, finished) == again[1:]
    os.utime(folder / "9.png", (1, 1))
    changed = in_shards(image_inputs(str(folder)), "settings", 2)
    assert changed[0].name != before[0].name
    assert [names(shard.inputs) for shard in unfinished(changed, finished)] == [
        [f"{folder}/9.png"],
        [f"{folder}/b.JPG"],
    ]


def test_large_files_share_no_shard(folder):
    found = image_inputs(str(folder))
    assert [names(shard.inputs) for shard in in_shards(found, "", 64, most_bytes=11)] == [
        [f"{folder}/9.png", f"{folder}/10.png"],
        [f"{folder}/b.JPG"],
    ]
