"""Rounds of a job: what dies with its worker is tried alone, and given up only where nothing comes further."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pyarrow as pa
import pytest
import torch

from clnf_torch.distributed import detect, track
from clnf_torch.distributed import job as module
from clnf_torch.distributed.cluster import Actors, JobError
from clnf_torch.distributed.detect import _Detection
from clnf_torch.distributed.frame_stream import FrameStream
from clnf_torch.distributed.images import DetectSettings
from clnf_torch.distributed.inputs import InputFile
from clnf_torch.distributed.job import Job, outcome
from clnf_torch.distributed.output import UNFINISHED, InputReport, JobOutput
from clnf_torch.distributed.shards import Shard
from clnf_torch.distributed.track import STATE, TrackShards, _Tracking, saved_state
from clnf_torch.distributed.videos import TrackSettings
from clnf_torch.tracking import VideoTracker
from tests.tracking.world import MANY, Fitter

DEADLY = "deadly.mp4"


@pytest.fixture
def output(tmp_path):
    found = JobOutput(str(tmp_path / "job"))
    found.begin({"kind": "track"})
    return found


@pytest.fixture
def ray(monkeypatch):
    """A cluster of one actor, as far as the rounds of a job see it."""
    found = SimpleNamespace(
        cluster_resources=lambda: {"CPU": 2},
        exceptions=SimpleNamespace(RayError=RuntimeError),
        put=lambda content: None,
    )
    monkeypatch.setattr(module, "connect", lambda address: found)
    monkeypatch.setattr(module, "_settings", lambda ray: nullcontext())
    return found


def videos(*names):
    return [Shard(number, (InputFile(name, name, 1, "1"),), "settings") for number, name in enumerate(names)]


def tracking(output, monkeypatch, work):
    """The work on videos, whose groups go to a function that stands for an actor: what it does not give died."""

    def on_actors(groups, *given):
        rows = [row for text in groups for row in work([Shard.from_json(line) for line in text.splitlines()])]
        return SimpleNamespace(iter_rows=lambda: iter(rows))

    monkeypatch.setattr(track, "on_actors", on_actors)
    monkeypatch.setattr(track, "blocks_of", lambda ray, texts: texts)
    return _Tracking(output.place, SimpleNamespace(shared=lambda ray: None), TrackSettings(batch=4))


def problems(output):
    return {each["input"]: each["problem"] for entry in output.entries() for each in entry["inputs"]}


def test_a_video_that_kills_its_worker_takes_no_other_with_it(output, ray, monkeypatch):
    def work(group):
        if any(shard.inputs[0].name == DEADLY for shard in group):
            return []
        for shard in group:
            output.commit(shard, None, [InputReport(5)], 0.0)
        return [outcome(shard, 5) for shard in group]

    shards = videos("a.mp4", DEADLY, "b.mp4", "c.mp4")
    Job(tracking(output, monkeypatch, work), output, Actors(concurrency=1)).run(shards)
    found = problems(output)
    assert found.pop(DEADLY) == f"{DEADLY}: the worker died 3 times at it"
    assert found == {"a.mp4": None, "b.mp4": None, "c.mp4": None}


def test_a_video_is_not_given_up_while_its_workers_come_further(output, ray, monkeypatch):
    """Each dies after a while, as on machines that are lent for an hour; the last one comes to the end."""
    tracker, lives = VideoTracker(Fitter(), None, MANY), iter(range(1, 7))

    def work(group):
        (shard,), life = group, next(lives)
        if life < 6:
            state = tracker.begin(1)
            save(output, shard, {**state.to_dict(), "frame": state.frame + 100 * life})
            return []
        output.commit(shard, None, [InputReport(600)], 0.0)
        return [outcome(shard, 600)]

    report = Job(tracking(output, monkeypatch, work), output, Actors(concurrency=1)).run(videos("long.mp4"))
    assert (report.rows, problems(output)) == (600, {"long.mp4": None})


def test_a_video_whose_workers_come_to_the_same_place_is_given_up(output, ray, monkeypatch):
    tracker = VideoTracker(Fitter(), None, MANY)

    def work(group):
        save(output, group[0], tracker.begin(1).to_dict())
        return []

    Job(tracking(output, monkeypatch, work), output, Actors(concurrency=1)).run(videos(DEADLY))
    assert problems(output) == {DEADLY: f"{DEADLY}: the worker died 3 times at it"}


class WorkerCrashedError(Exception):
    """As Ray calls it where the process of a task died."""


class Tracks:
    """Tracks the faces of videos, as far as what becomes of videos is concerned."""

    settings = TrackSettings(batch=4)

    def __call__(self, tasks):
        for task in tasks:
            list(task.source)
            task.finish(SimpleNamespace(entry=dict))


def an_actor(output, monkeypatch, blocks):
    """What a group of videos becomes in an actor whose readers give these blocks."""
    actor = object.__new__(TrackShards)
    actor.output, actor.faces = output, Tracks()
    monkeypatch.setattr(track, "remote_frames", lambda video, cpus: FrameStream(video.name, blocks(video.name)))

    def work(group):
        text = "\n".join(shard.to_json() for shard in group)
        return actor(pa.table({"shards": [text]})).to_pylist()

    return work


def blocks_until(name, dies=None):
    """What a reader says of a video without frames; it dies at once or behind the first words."""
    if dies == "at once" and name == DEADLY:
        raise WorkerCrashedError
    yield {"rate": "25", "count": 0, "width": 4, "height": 4}
    if dies == "later" and name == DEADLY:
        raise WorkerCrashedError
    yield {"problem": None, "notes": []}


@pytest.mark.parametrize("dies", ["at once", "later"])
def test_a_video_that_kills_its_reader_is_given_up_like_one_that_kills_its_worker(output, ray, monkeypatch, dies):
    """Every run ended in a line without its name, and the videos beside it were not finished."""
    work = an_actor(output, monkeypatch, lambda name: blocks_until(name, dies))
    shards = videos("a.mp4", DEADLY, "b.mp4")
    Job(tracking(output, monkeypatch, work), output, Actors(concurrency=1)).run(shards)
    died = f"{DEADLY}: the worker died 3 times at it"
    assert problems(output) == {"a.mp4": None, DEADLY: died, "b.mp4": None}


def test_an_image_that_kills_its_reader_is_not_read_for_ever(output, ray, monkeypatch):
    """Ray Data begins a task anew without end unless it is told otherwise."""
    given = {}
    blocks = SimpleNamespace(map_batches=lambda work, **options: given.update(options))
    monkeypatch.setattr(detect, "blocks_of", lambda ray, texts: blocks)
    monkeypatch.setattr(detect, "on_actors", lambda *args: None)
    work = _Detection(output.place, SimpleNamespace(shared=lambda ray: None), DetectSettings())
    work.pipeline(ray, videos(DEADLY), Actors(concurrency=1), (1, 1), alone=False)
    assert 0 <= given["max_retries"] < 3


def test_a_video_that_cannot_be_entered_is_named_and_spares_those_beside_it(output, ray, monkeypatch):
    commit = output.commit

    def refusing(shard, *rest):
        if shard.inputs[0].name == DEADLY:
            raise OSError("no room")
        commit(shard, *rest)

    monkeypatch.setattr(output, "commit", refusing)
    work = an_actor(output, monkeypatch, blocks_until)
    found = []

    def first_round(group):
        found.append(work(group))
        return found[-1]

    job = Job(tracking(output, monkeypatch, first_round), output, Actors(concurrency=1))
    with pytest.raises(JobError, match=f"1 input is not finished: {DEADLY}: OSError: no room"):
        job.run(videos(DEADLY, "a.mp4", "b.mp4"))
    assert [bool(row["error"]) for row in found[0]] == [True, False, False]


@pytest.mark.parametrize("spoil", ["version", "bytes"])
def test_a_state_of_another_version_is_none(output, spoil):
    """Otherwise the job would fail in every round, and in every run."""
    (shard,) = videos("long.mp4")
    save(output, shard, state := VideoTracker(Fitter(), None, MANY).begin(1).to_dict())
    assert saved_state(output, shard) is not None
    if spoil == "version":
        save(output, shard, {**state, "version": state["version"] - 1})
    else:
        output.publish_bytes(b"no state at all", f"{UNFINISHED}/{shard.name}/{STATE}")
    assert saved_state(output, shard) is None


def save(output, shard, state, parts=0):
    """Puts a state of an unfinished video into the output, whose rows lie in so many parts."""
    saved = {"state": state, "sink": {"positions": {"--parquet": parts}}, "run": "abcd"}
    path = output.path(f"{UNFINISHED}/{shard.name}/{STATE}")
    output.files.makedirs(path.rpartition("/")[0], exist_ok=True)
    torch.save(saved, path)


def test_a_video_whose_saved_rows_are_missing_begins_anew(output, tmp_path):
    (shard,) = videos("long.mp4")
    save(output, shard, VideoTracker(Fitter(), None, MANY).begin(1).to_dict(), parts=2)
    video = track.UnfinishedVideo(output, shard, tmp_path, {}, {})
    assert video._restored() is None
    assert not list(tmp_path.glob("*.partial"))
