"""A real cluster of two nodes: the rows of one process, to the last digit, whatever the actors and whatever dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from clnf_torch.distributed import Actors, DetectSettings, TrackSettings, detect_images, manifest, read, track_videos
from clnf_torch.distributed.cluster import JobError
from clnf_torch.distributed.inputs import image_inputs
from tests.distributed.clusters import KillAt, add_node, start_cluster, stop_cluster
from tests.distributed.pictures import write_pictures
from tests.media.videos import moving, write_video

pytest.importorskip("ray", reason="no Ray: pip install 'clnf-torch[ray]'; .ci/run does; the extra dev lacks it")
pytestmark = [
    pytest.mark.slow,
    # Of Ray's own files and sockets, and its words about versions to come
    pytest.mark.filterwarnings("ignore"),
]
COUNT = 18


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of two logical CPUs each."""
    found = start_cluster()
    yield found
    stop_cluster(found)


@pytest.fixture(scope="module")
def pictures(image, tmp_path_factory):
    """Images of three sizes, and two files that are none."""
    return write_pictures(image, tmp_path_factory.mktemp("pictures"), COUNT)


@pytest.fixture(scope="module")
def clips(image, tmp_path_factory):
    """Videos of several lengths and two sizes; the last two cannot be read."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(4):
        images = [frame[: -8 * (number % 2) or None] for frame in moving(image, 30 + 10 * number)]
        write_video(folder / f"{number}.mp4", images)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    return folder


@pytest.fixture(scope="module")
def settings(box):
    """The face of every image."""
    return DetectSettings(box=tuple(box), batch=4)


def one_process(output, *words):
    """What the program writes by itself."""
    program = [sys.executable, "-m", "clnf_torch", *map(str, words), "--parquet", str(output)]
    done = subprocess.run(program, capture_output=True, text=True)
    assert output.exists(), done.stderr


@pytest.fixture(scope="module")
def expected(pictures, bundle, box, tmp_path_factory):
    """What one process finds in the images."""
    file = tmp_path_factory.mktemp("expected") / "images.parquet"
    files = [each.name for each in image_inputs(str(pictures))]
    one_process(file, "detect", *files, "--model", bundle, "--box", *box)
    return parquet.read_table(file)


@pytest.fixture(scope="module")
def expected_tracks(clips, bundle, box, tmp_path_factory):
    """What one process finds in the videos, with their names."""
    files = sorted(clips.glob("[0-9].mp4"))
    folder = tmp_path_factory.mktemp("expected") / "videos"
    one_process(folder, "track", *files, "--model", bundle, "--box", *box, "--no-multi-view")
    tables = [parquet.read_table(folder / f"{file.stem}.parquet") for file in files]
    names = [pa.array([str(file)] * len(table)) for file, table in zip(files, tables, strict=True)]
    return pa.concat_tables(table.add_column(0, "video", name) for name, table in zip(names, tables, strict=True))


def in_order(table):
    """Rows by image: names are the same whatever order they were given in."""
    return table.sort_by([("image", "ascending"), ("face", "ascending")])


def test_rows_of_images_depend_on_neither_actors_nor_batches_nor_order(
    cluster, pictures, bundle, settings, expected, tmp_path
):
    given = {"settings": settings, "actors": Actors(concurrency=1)}
    first = detect_images(str(pictures), tmp_path / "one", model=bundle, **given)
    backwards = [each.name for each in reversed(image_inputs(str(pictures)))]
    given = {"settings": replace(settings, batch=16), "actors": Actors(concurrency=(1, 3)), "shard_images": 5}
    detect_images(backwards, tmp_path / "many", model=bundle, **given)
    assert read(tmp_path / "one").equals(expected)
    assert in_order(read(tmp_path / "many")).equals(in_order(expected))
    assert (first.inputs, first.rows, len(first.problems)) == (COUNT + 2, COUNT, 2)
    inputs = manifest(tmp_path / "many").to_pylist()
    assert len(inputs) == COUNT + 2
    assert [Path(row["input"]).name for row in inputs if row["problem"]] == ["text.png", "empty.png"]


def test_a_killed_worker_costs_no_row(cluster, pictures, bundle, settings, expected, tmp_path):
    kill = KillAt(cluster, "DetectShards")
    given = {"settings": settings, "actors": Actors(concurrency=2), "shard_images": 2, "progress": kill}
    report = detect_images(str(pictures), tmp_path / "out", model=bundle, **given)
    assert kill.killed
    assert read(tmp_path / "out").equals(expected)
    assert report.inputs == COUNT + 2


def test_a_removed_node_costs_no_row(cluster, pictures, bundle, settings, expected, tmp_path):
    third, removed = add_node(cluster), []

    def remove(finished, total):
        if finished and not removed:
            removed.append(third)
            cluster.remove_node(third, allow_graceful=False)

    given = {"settings": settings, "actors": Actors(concurrency=4), "shard_images": 1, "progress": remove}
    detect_images(str(pictures), tmp_path / "out", model=bundle, **given)
    assert removed
    assert read(tmp_path / "out").equals(expected)


JOB = """
import json, sys
from clnf_torch.distributed import Actors, DetectSettings, detect_images
given = json.loads(sys.argv[1])
settings = DetectSettings(box=given.pop("box"))
detect_images(settings=settings, actors=Actors(concurrency=1), shard_images=3, **given)
"""


def test_a_job_that_was_killed_goes_on_where_it_was(cluster, pictures, bundle, settings, expected, tmp_path):
    output, box = tmp_path / "out", list(settings.box)
    given = {"images": str(pictures), "output": str(output), "model": str(bundle), "address": cluster.address}
    words = [sys.executable, "-c", JOB, json.dumps({**given, "box": box})]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as job:
        wait_for(lambda: list((output / "manifest").glob("*.json")), job)
        job.send_signal(signal.SIGKILL)
    before = times(output)
    again = {"settings": settings, "actors": Actors(concurrency=2), "shard_images": 3}
    report = detect_images(str(pictures), output, model=bundle, **again)
    assert 0 < report.skipped < report.inputs
    assert before.items() <= times(output).items()
    assert read(output).equals(expected)


def test_videos_have_the_rows_of_one_process_also_where_a_worker_dies(
    cluster, clips, bundle, box, expected_tracks, tmp_path
):
    settings = TrackSettings(box=tuple(box), multi_view=False, batch=2, save_every=0)
    kill = KillAt(cluster, "TrackShards")
    given = {"settings": settings, "actors": Actors(concurrency=2), "progress": kill}
    report = track_videos(str(clips), tmp_path / "out", model=bundle, **given)
    assert kill.killed
    assert read(tmp_path / "out").equals(expected_tracks)
    (problem,) = report.problems
    assert problem.startswith(f"{clips}/broken.mp4: ")
    assert manifest(tmp_path / "out")["frames"].to_pylist() == [30, 40, 50, 60, None]
    assert not any((tmp_path / "out" / "unfinished").rglob("*.*"))


def test_smoothed_videos_have_the_rows_of_one_process(cluster, clips, bundle, box, expected_tracks, tmp_path):
    files, words = sorted(clips.glob("[01].mp4")), ("--box", *box, "--no-multi-view", "--smooth")
    one_process(tmp_path / "one", "track", *files, "--model", bundle, *words)
    expected = pa.concat_tables([parquet.read_table(tmp_path / "one" / f"{file.stem}.parquet") for file in files])
    settings = TrackSettings(box=tuple(box), multi_view=False, smooth=True, batch=2)
    given = {"settings": settings, "actors": Actors(concurrency=2)}
    track_videos([str(file) for file in files], tmp_path / "out", model=bundle, **given)
    assert read(tmp_path / "out").drop_columns("video").equals(expected)
    assert not expected.equals(expected_tracks.drop_columns("video")[: len(expected)])


def test_the_command_says_how_to_go_on_and_does(cluster, clips, bundle, box, expected_tracks, clnf_torch_cli, tmp_path):
    output, files = tmp_path / "out", [*sorted(clips.glob("[0-9].mp4")), clips / "broken.mp4"]
    words = ["track", *files, "--model", bundle, "--box", *box, "--no-multi-view", "--batch", 1]
    words = [str(word) for word in [*words, "--parquet", output, "--ray", cluster.address, "--actors", 1]]
    with subprocess.Popen([sys.executable, "-m", "clnf_torch", *words], stderr=subprocess.PIPE, text=True) as job:
        wait_for(lambda: list((output / "manifest").glob("*.json")), job)
        job.send_signal(signal.SIGINT)
        _, said = job.communicate(timeout=180)
    assert job.returncode == 130
    assert f"clnf-torch: finished videos are in {output}; the same command goes on with the others" in said
    done = clnf_torch_cli(*words)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[0].startswith(f"clnf-torch: error: {clips}/broken.mp4: ")
    assert "5 videos, " in done.stderr.splitlines()[1]
    assert read(output).equals(expected_tracks)


def test_an_output_that_cannot_be_written_ends_in_a_line(cluster, pictures, bundle, settings, tmp_path):
    def spoil(finished, total):
        (tmp_path / "out" / "shards").write_text("in the way")

    given = {"settings": settings, "actors": Actors(concurrency=1), "progress": spoil}
    files = [str(pictures / f"{number}.png") for number in range(3)]
    with pytest.raises(
        JobError, match=r"^3 inputs are not finished: \S+\.png: \w+: .*; the same job again goes on with them$"
    ):
        detect_images(files, tmp_path / "out", model=bundle, **given)


def test_a_concurrency_that_leaves_no_cpu_for_reading_is_refused(cluster, pictures, bundle, settings, tmp_path):
    given = {"settings": settings, "actors": Actors(concurrency=4)}
    with pytest.raises(JobError, match=r"^4 actors of 1 CPUs each leave none of the cluster's 4 for reading"):
        detect_images(str(pictures), tmp_path / "out", model=bundle, **given)


def times(output: Path) -> dict[str, int]:
    """When the entries of a manifest were written."""
    return {file.name: file.stat().st_mtime_ns for file in (output / "manifest").glob("*.json")}


def wait_for(condition, job, seconds=180):
    """Waits until something is there."""
    end = time.monotonic() + seconds
    while not condition():
        assert job.poll() is None, "the job ended"
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.02)
