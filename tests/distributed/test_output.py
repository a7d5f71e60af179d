"""The output of a job: files with names only when they are complete, one job each, and tables without doubles."""

from __future__ import annotations

import types
import uuid

import pyarrow as pa
import pytest
from pyarrow import parquet

from clnf_torch.distributed import manifest, read, track
from clnf_torch.distributed.inputs import InputFile
from clnf_torch.distributed.output import InputReport, JobOutput
from clnf_torch.distributed.shards import Shard
from clnf_torch.distributed.storage import StorageError
from clnf_torch.distributed.videos import TrackSettings

JOB = {"kind": "detect", "model": "abc", "settings": {"preset": "default"}}


@pytest.fixture(params=["folder", "object store"])
def output(request, tmp_path):
    """A job's output in either kind of place."""
    place = str(tmp_path / "job") if request.param == "folder" else f"memory://{uuid.uuid4()}/job"
    found = JobOutput(place)
    found.begin(JOB)
    return found


def commit(output, tmp_path, number, images, modified="1", rows=None):
    """Enters a shard whose rows hold a number."""
    shard = Shard(number, tuple(InputFile(name, name, 1, modified) for name in images), "settings")
    table = pa.table({"face": [0] * len(images), "x_0": [rows or number] * len(images), "image": images})
    parquet.write_table(table, tmp_path / "rows.parquet")
    output.commit(shard, tmp_path / "rows.parquet", [InputReport(1)] * len(images), 0.5)


def test_rows_come_in_the_order_of_the_inputs_and_columns_can_be_chosen(output, tmp_path):
    commit(output, tmp_path, 1, ["c"])
    commit(output, tmp_path, 0, ["a", "b"])
    assert read(output.place)["image"].to_pylist() == ["a", "b", "c"]
    assert read(output.place, ["x_0"]).to_pydict() == {"x_0": [0, 0, 1]}
    assert output.finished() == {(name, 1, "1") for name in "abc"}
    assert manifest(output.place).select(["input", "rows", "number", "model"]).to_pylist()[2] == {
        "input": "c", "rows": 1, "number": 1, "model": "abc",
    }  # fmt: skip


def test_a_changed_input_has_the_rows_of_its_last_shard_alone(output, tmp_path):
    commit(output, tmp_path, 0, ["a", "b"], rows=1)
    commit(output, tmp_path, 0, ["b"], modified="2", rows=2)
    rows = read(output.place, ["image", "x_0"]).to_pylist()
    assert sorted((row["image"], row["x_0"]) for row in rows) == [("a", 1), ("b", 2)]


def test_another_job_is_refused_and_the_same_goes_on(output):
    output.begin(JOB)
    with pytest.raises(StorageError, match=r'holds a job whose model is "abc", not "def"; write elsewhere$'):
        output.begin({**JOB, "model": "def"})


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(StorageError, match="expected a new folder or one of a job, found other files in it"):
        JobOutput(str(tmp_path)).begin(JOB)
    with pytest.raises(StorageError, match=r"expected the output of a job, found no job\.json in it"):
        read(tmp_path)


def test_what_fails_on_the_way_leaves_nothing(output, tmp_path, monkeypatch):
    commit(output, tmp_path, 0, ["a"])

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    monkeypatch.setattr(type(output.files), "put_file", full)
    with pytest.raises(OSError, match="No space left"):
        commit(output, tmp_path, 1, ["b"])
    assert len(output.names("shards")) == len(output.names("manifest")) == 1
    found = [name.rsplit("/", 1)[-1] for name in output.files.ls(output.path("shards"), detail=False)]
    assert len(found) == 1, found


def test_shards_of_an_older_version_lack_a_column(output, tmp_path):
    commit(output, tmp_path, 0, ["a"])
    shard = Shard(1, (InputFile("b", "b", 1, "1"),), "settings")
    parquet.write_table(pa.table({"face": [0], "x_0": [1], "success": [1], "image": ["b"]}), tmp_path / "rows.parquet")
    output.commit(shard, tmp_path / "rows.parquet", [InputReport(1)], 0.5)
    assert read(output.place)["success"].to_pylist() == [None, 1]


@pytest.mark.parametrize(
    ("box", "problem"),
    [((700, 0, 50, 50), "lies outside the image of 640 x 480 pixels"), ((0, 0, 0, 50), "has width 0 and height 50")],
)
def test_a_box_that_is_in_no_frame_is_a_problem_of_the_video(output, tmp_path, monkeypatch, box, problem):
    source = types.SimpleNamespace(width=640, height=480)
    monkeypatch.setattr(track, "remote_frames", lambda video, num_cpus: source)
    video = track.UnfinishedVideo(
        output, Shard(0, (InputFile("a.mp4", "a.mp4", 1, "1"),), "settings"), tmp_path, {}, {}
    )
    assert video.task(1, TrackSettings(box=box)) is None
    (found,) = manifest(output.place)["problem"].to_pylist()
    assert found.startswith("a.mp4: box ") and problem in found
