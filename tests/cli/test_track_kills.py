"""``clnf-torch track``, killed at random moments: older results stay, the rest can be read, --resume completes it."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from pyarrow import parquet

from clnf_torch.cli.manifest import NAME as MANIFEST
from clnf_torch.cli.videos import run as command
from clnf_torch.cli.videos.outputs import STATE, SUMMARY
from clnf_torch.cli.videos.video_writer import image_count
from clnf_torch.files.writing import new_partial_of, partial_of
from clnf_torch.media.video import VideoFile
from clnf_torch.tracking import VideoTracker
from tests.cli.killing import SIGNALS, Ended, Nursery
from tests.media.videos import FixedBox, moving, write_video

OLD = b"an older result\n"
KILLS = int(os.environ.get("CLNF_KILLS", "0"))  # of each signal; 0: one
FRAMES = {"first": 60, "second": 6, "third": 10}
FACE = [40.0, 42.0, 150.0, 161.0]
# Seconds of work that may be lost
LOST = 5.0
# Seconds from the signal to the end of the program
WAIT = 1.0
STEPS = "CLNF_STEPS"  # the file in which a program notes when it had computed how many frames


def prepare() -> None:
    """Lets the program find the free model's face, and note its steps."""
    command.load_face_detector_for = lambda *_: FixedBox(FACE)
    step, log = VideoTracker.step, os.open(os.environ[STEPS], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noted(self, state, frames, damaged=None):
        found = step(self, state, frames, damaged)
        os.write(log, f"{time.time()} {len(frames)}\n".encode())
        return found

    VideoTracker.step = noted


@pytest.fixture(scope="module")
def nursery(tmp_path_factory) -> Iterator[Nursery]:
    folder = tmp_path_factory.mktemp("log")
    os.environ[STEPS] = str(folder / "steps")
    nursery = Nursery(folder / "stderr")
    yield nursery
    nursery.close()
    del os.environ[STEPS]


@pytest.fixture(scope="module")
def videos(tmp_path_factory, image) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [write_video(folder / f"{name}.mp4", moving(image, count)) for name, count in FRAMES.items()]


@pytest.fixture(scope="module")
def program(nursery, videos, bundle):
    """Runs ``track`` on all videos into a folder."""

    def run(out: Path, *more: object, kill=None, limit: int = 0, batch: int = 2) -> Ended:
        Path(os.environ[STEPS]).unlink(missing_ok=True)
        files = [word for option in ("csv", "json", "parquet", "draw") for word in (f"--{option}", out)]
        words = ["track", *videos, "--model", bundle, "--no-multi-view", "--batch", batch, *files, *more]
        return nursery.run(words, kill=kill, limit=limit, prepare="tests.cli.test_track_kills:prepare")

    return run


@pytest.fixture(scope="module")
def whole(program, tmp_path_factory) -> tuple[Path, float]:
    """The results of an uninterrupted run, and the seconds that it took."""
    done = program(out := tmp_path_factory.mktemp("whole"))
    assert done.code == 0, done.stderr
    assert [count_rows(out / f"{name}.csv") for name in FRAMES] == list(FRAMES.values())
    return out, done.seconds


def count_rows(table: Path) -> int:
    """Rows of a CSV file, or of a partial one, whose last line may be torn by a kill."""
    content = table.read_bytes()
    lines = list(csv.reader(content[: content.rfind(b"\n") + 1].decode().splitlines()))
    assert len({len(line) for line in lines}) <= 1
    return max(len(lines) - 1, 0)


def frames_of(path: Path) -> torch.Tensor:
    return torch.stack([frame.image for frame in VideoFile(path)])


def assert_same_results(found: Path, expected: Path) -> None:
    """All files are equal; of drawn videos their images, of manifests and summaries all but times and places.

    Nothing else is there, but numbered parts of a video that was begun anew.
    """
    names = sorted(path.name for path in found.iterdir() if not re.search(r"\.partial\.\d+$", path.name))
    assert names == sorted(path.name for path in expected.iterdir())
    for path in expected.iterdir():
        if path.suffix == ".mp4":
            assert torch.equal(frames_of(found / path.name), frames_of(path))
        elif path.name == "manifest.json":
            entries = [json.loads((folder / path.name).read_text())["videos"] for folder in (found, expected)]
            for entry in (*entries[0], *entries[1]):
                del entry["seconds"], entry["outputs"], entry["modified"]
            assert sorted(entries[0], key=str) == sorted(entries[1], key=str)
        elif path.name == "summary.csv":
            rows = [list(csv.DictReader((folder / path.name).read_text().splitlines())) for folder in (found, expected)]
            for row in (*rows[0], *rows[1]):
                del row["frames_per_second"]
            assert rows[0] == rows[1]
        else:
            assert (found / path.name).read_bytes() == path.read_bytes(), path.name


def assert_readable(out: Path) -> int:
    """Everything that a killed run left can be read; how many rows are there, the fewest of all kinds of files."""
    rows, named = 0, [out / f"{name}.{suffix}" for name in FRAMES for suffix in READERS]
    named += [out / MANIFEST, out / STATE, out / SUMMARY]
    known = {path for final in named for path in (final, partial_of(final), new_partial_of(final))}
    assert set(out.iterdir()) <= known
    for name in FRAMES:
        counts = []
        for suffix, read in READERS.items():
            final, partial = out / f"{name}.{suffix}", partial_of(out / f"{name}.{suffix}")
            if final.read_bytes() != OLD:
                counts.append(FRAMES[name])
                read_final(final)
            elif partial.exists():
                counts.append(read(partial))
            else:
                counts.append(0)
        rows += min(counts)
    for entry in json.loads((out / "manifest.json").read_text())["videos"] if (out / "manifest.json").exists() else ():
        assert entry["frames"] == FRAMES[Path(entry["input"]).stem]
    return rows


def read_lines(partial: Path) -> int:
    lines = partial.read_bytes().splitlines(keepends=True)
    return sum(bool(json.loads(line)) for line in lines if line.endswith(b"\n")) - 1 if lines else 0


def read_groups(partial: Path) -> int:
    return parquet.read_table(partial).num_rows if any(partial.glob("*.parquet")) else 0


READERS = {"csv": count_rows, "json": read_lines, "parquet": read_groups, "mp4": image_count}


def read_final(path: Path) -> None:
    if path.suffix == ".mp4":
        assert image_count(path) == FRAMES[path.stem]
    elif path.suffix == ".json":
        assert len(json.loads(path.read_text())["faces"]) == FRAMES[path.stem]
    else:
        assert (parquet.read_table(path).num_rows if path.suffix == ".parquet" else count_rows(path)) == FRAMES[
            path.stem
        ]


def computed(before: float) -> int:
    """Frames that a program had computed at a time."""
    log = Path(os.environ[STEPS])
    steps = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return sum(int(frames) for at, frames in steps if float(at) < before)


def older_results(out: Path) -> Sequence[Path]:
    out.mkdir()
    files = [out / f"{name}.{suffix}" for name in FRAMES for suffix in READERS]
    for path in files:
        path.write_bytes(OLD)
    return files


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: signal.Signals(number).name)
def test_killed_at_random(program, whole, tmp_path, number):
    expected, seconds = whole
    chance = random.Random(int(number))
    for kill in range(KILLS or 1):
        older_results(out := tmp_path / str(kill))
        moment = chance.uniform(0.0, seconds)
        killed = program(out, kill=(number, moment))
        ended = time.time()
        assert killed.code in {0, 128 + number, -number}, killed.stderr
        rows = assert_readable(out)
        assert rows >= computed(ended - LOST - WAIT), (moment, rows)
        if killed.code == 128 + number and rows:
            assert killed.stderr.splitlines()[-1].startswith("clnf-torch: unfinished: ")
        again = program(out, "--resume")
        assert again.code == 0, again.stderr
        assert_same_results(out, expected)


def test_a_second_run_skips_what_is_finished_and_begins_anew_what_has_changed(program, whole, videos, tmp_path):
    expected, _ = whole
    killed = program(out := tmp_path / "out", limit=(expected / "first.csv").stat().st_size * 3 // 4)
    assert killed.code == 1
    assert program(out, "--resume").code == 0
    assert_same_results(out, expected)
    again = program(out, "--resume")
    assert again.code == 0 and again.stderr.count("finished by an earlier run; skipped") == 3
    os.utime(videos[1], ns=(0, 0))
    assert program(out, "--resume").stderr.count("skipped") == 3
    content = videos[1].read_bytes()
    videos[1].write_bytes(content + bytes(8))
    changed = program(out, "--resume")
    assert f"{videos[1]}: begins anew: it has changed" in changed.stderr and changed.stderr.count("skipped") == 2
    other = program(out, "--resume", "--likelihoods")
    videos[1].write_bytes(content)
    assert other.stderr.count("begins anew: likelihoods is True, not False as before") == 3


def test_a_name_that_is_not_utf8_is_finished_too(nursery, videos, bundle, tmp_path):
    shutil.copy(videos[1], video := tmp_path / os.fsdecode(b"\xff\\x41\n.mp4"))
    words = ["track", video, "--model", bundle, "--no-multi-view", "--box", *FACE, "--csv", tmp_path / "out"]
    assert nursery.run(words).code == 0
    again = nursery.run([*words, "--resume"])
    assert again.code == 0 and "finished by an earlier run; skipped" in again.stderr
    (tmp_path / "out" / f"{video.stem}.csv").unlink()
    assert "skipped" not in nursery.run([*words, "--resume"]).stderr


def test_a_full_disk_keeps_older_results(program, whole, tmp_path):
    expected, _ = whole
    files = older_results(out := tmp_path / "out")
    limit = (expected / "first.csv").stat().st_size // 2
    full = program(out, limit=limit)
    assert full.code == 1 and "File too large" in full.stderr
    assert full.stderr.splitlines()[-1].startswith("clnf-torch: unfinished: ")
    assert any(path.read_bytes() == OLD for path in files)
    assert_readable(out)
    assert count_rows(partial_of(out / "first.csv")) > 0 and partial_of(out / "first.csv").read_bytes().endswith(b"\n")
    again = program(out, "--resume")
    assert again.code == 0, again.stderr
    assert_same_results(out, expected)


def test_a_read_only_folder_is_one_line(program, tmp_path):
    if os.geteuid() == 0:
        (tmp_path / "out").write_text("a file where a folder should be")
        out = tmp_path / "out" / "inner"
    else:
        (out := tmp_path / "out").mkdir(mode=0o500)
    done = program(out)
    assert done.code == 2 and len(done.stderr.splitlines()) == 1
