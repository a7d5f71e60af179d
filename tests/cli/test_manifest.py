"""`clnf_torch.cli.manifest`: what tells an input from another one."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from clnf_torch.cli import manifest
from clnf_torch.cli.manifest import BLOCK, BLOCKS, Manifest, Task


def task_of(video: Path) -> Task:
    """What is done with a video."""
    return Task.of(video, "model", {}, {"--csv": video.with_suffix(".csv")}).with_content()


@pytest.mark.parametrize("size", [1, 3 * BLOCK + 1, 3 * BLOCKS * BLOCK + 1])
def test_a_file_of_another_time_is_the_same_if_its_contents_are(tmp_path, size):
    """As of a copy, or after `touch`."""
    video = tmp_path / "a.mp4"
    video.write_bytes(content := os.urandom(size))
    saved = asdict(task_of(video))
    os.utime(video, (7, 7))
    assert task_of(video).difference(saved) is None
    for place in (0, -1):
        changed = bytearray(content)
        changed[place] ^= 1
        video.write_bytes(changed)
        os.utime(video, (7, 7))
        assert task_of(video).difference(saved) == "it has changed"


def test_a_copy_elsewhere_is_no_other_input(tmp_path):
    videos = [tmp_path / folder / "a.mp4" for folder in "xyz"]
    for number, video in enumerate(videos):
        video.parent.mkdir()
        video.write_bytes(b"123" if number < 2 else b"321")
        os.utime(video, (number, number))
    first, copy, other = map(task_of, videos)
    assert not copy.is_of_another(asdict(first))
    assert other.is_of_another(asdict(first))


def test_entries_of_which_contents_are_not_known_go_by_the_time(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"123")
    saved = asdict(task_of(video))
    del saved["content"]
    assert task_of(video).difference(saved) is None
    os.utime(video, (7, 7))
    assert task_of(video).difference(saved) == "it has changed"


def test_thousands_of_videos_are_looked_up_by_their_files(tmp_path, monkeypatch):
    """Not each among all: a folder of 10,000 videos took minutes to skip."""
    tasks = [Task(f"{n}.mp4", 1, 1, "model", {}, {"--csv": str(tmp_path / f"{n}.csv")}) for n in range(50)]
    entries = [asdict(task) for task in tasks]
    (tmp_path / "manifest.json").write_text(
        json.dumps({"format": manifest.FORMAT, "version": manifest.VERSION, "videos": entries})
    )
    for entry in entries:
        Path(entry["outputs"]["--csv"]).touch()
    known, compared, difference = Manifest(tmp_path / "manifest.json"), [], Task.difference
    monkeypatch.setattr(Task, "difference", lambda *of: compared.append(of) or difference(*of))
    for task, entry in zip(tasks, entries, strict=True):
        assert known.finished(task) == entry and known.changed(task) is None
        assert list(known.earlier(task)) == [entry]
    assert len(compared) == 2 * len(tasks)


def test_videos_that_are_entered_are_found_at_once(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"123")
    (tmp_path / "a.csv").touch()
    known = Manifest(tmp_path / "manifest.json")
    assert known.finished(task_of(video)) is None
    entry = known.add(task_of(video), {"frames": 3})
    assert known.finished(task_of(video)) == entry


def test_what_is_read_but_once_is_not_read_for_its_contents(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert task_of(tmp_path / "pipe").content is None


def test_contents_are_read_only_where_size_and_time_leave_a_doubt(tmp_path, monkeypatch):
    """As of thousands of videos on a network's disk, which are skipped."""
    video = tmp_path / "a.mp4"
    video.write_bytes(b"123")
    saved, read, content_of = asdict(task_of(video)), [], manifest.content_of
    monkeypatch.setattr(manifest, "content_of", lambda path: read.append(path) or content_of(path))
    known = Task.of(video, "model", {}, {"--csv": video.with_suffix(".csv")})
    assert known.difference(saved) is None and not read
    assert known.difference({**saved, "modified": 7}) is None and read == [video]


def test_entering_a_video_reads_and_encodes_none_of_the_others(tmp_path, monkeypatch):
    place = tmp_path / "manifest.json"
    known = Manifest(place)
    for name in "abc":
        known.enter(manifest.VIDEOS, {"outputs": {"--csv": f"{name}.csv"}, "text": "\u00e4\n{"})
    known.enter(manifest.IMAGES, {"outputs": {}, "inputs": [{"drawing": "d.png"}, {"drawing": "e.png"}]})
    encoded, encode = [], json.dumps
    monkeypatch.setattr(json, "dumps", lambda value, **how: encoded.append(value) or encode(value, **how))
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("the file was read again"))
    known.enter(manifest.VIDEOS, {"outputs": {"--csv": "b.csv"}})
    monkeypatch.undo()
    assert [value["outputs"] for value in encoded if "outputs" in value and "inputs" not in value] == [
        {"--csv": "b.csv"}
    ]
    content = json.loads(place.read_text())
    assert place.read_text() == json.dumps(content, indent=1) + "\n"
    assert [entry["outputs"]["--csv"] for entry in content["videos"]] == ["a.csv", "c.csv", "b.csv"]
    # What another process has written meanwhile stays
    other = Manifest(place)
    other.enter(manifest.VIDEOS, {"outputs": {"--csv": "e.png"}})
    known.enter(manifest.VIDEOS, {"outputs": {"--csv": "c.csv"}, "new": True})
    content = json.loads(place.read_text())
    assert [entry["outputs"]["--csv"] for entry in content["videos"]] == ["a.csv", "b.csv", "e.png", "c.csv"]
    assert content["images"][0]["inputs"] == [{"drawing": "d.png"}]
