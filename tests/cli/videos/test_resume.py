"""States of several runs in one folder: each changes what is known of its own videos alone."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import torch

from clnf_torch.cli.manifest import Manifest, Task
from clnf_torch.cli.outputs import Targets
from clnf_torch.cli.videos.resume import SavedRun
from clnf_torch.files.locks import locked_folder
from clnf_torch.files.writing import partial_of
from clnf_torch.media.parallel_videos import Snapshot
from clnf_torch.media.video_frames import FrameSource
from clnf_torch.tracking import TrackState
from tests.tracking.test_state import state_of

WRITES = 20


class Source:
    """A video by its name."""

    def __init__(self, name: str) -> None:
        self.path = Path(name)


def run_of(folder: Path, *names: str) -> tuple[SavedRun, dict[FrameSource, Targets]]:
    """A run over videos of these names, and their files."""
    files = {Source(name): Targets(csv=folder / f"{name}.csv") for name in names}
    tasks = {
        source: Task(str(source.path), 1, 1, "model", {}, {"--csv": str(one.csv)}) for source, one in files.items()
    }
    return SavedRun(folder / "track.state", tasks), files


def snapshot_of(run: SavedRun, frames: int) -> Snapshot:
    """What is saved behind so many frames, whose tables are as long."""
    state: TrackState = state_of(len(run.tasks))
    for task in run.tasks.values():
        partial_of(task.outputs["--csv"]).write_bytes(b"x" * frames)
    sources = list(run.tasks)
    sinks = [{"positions": {"--csv": frames}} for _ in sources]
    return Snapshot(replace(state, frame=torch.full_like(state.frame, frames)), sources, sinks)


def test_other_runs_leave_the_state_of_an_interrupted_one(tmp_path, capsys):
    first, _ = run_of(tmp_path, "a", "b")
    first.save(snapshot_of(first, 7))
    second, _ = run_of(tmp_path, "c")
    second.save(snapshot_of(second, 9))
    both, files = run_of(tmp_path, "c", "a", "b")
    found = both.load(files, torch.device("cpu"))
    assert [str(source.path) for source in found.sources] == ["a", "b", "c"]
    assert found.state.frame.tolist() == [7, 7, 9]
    second.remove()
    one, files = run_of(tmp_path, "b")
    assert one.load(files, torch.device("cpu")).state.next_identity.tolist() == [2]
    one.remove()
    assert first.path.is_file()
    first.remove()
    assert not first.path.exists()


def test_a_part_of_which_nothing_is_saved_begins_anew_with_a_reason(tmp_path, capsys):
    run, files = run_of(tmp_path, "a")
    partial_of(tmp_path / "a.csv").write_bytes(b"rows")
    assert run.load(files, torch.device("cpu")) is None
    assert "a: begins anew: nothing is saved of it beside a.csv.partial" in capsys.readouterr().err


def write_often(folder: Path, name: str) -> None:
    """Saves, and enters in the manifest, again and again."""
    run, _ = run_of(folder, name)
    snapshot, manifest = snapshot_of(run, 3), Manifest(folder / "manifest.json")
    for number in range(WRITES):
        run.save(snapshot)
        (task,) = run.tasks.values()
        manifest.add(replace(task, outputs={"--csv": f"{name}{number}"}), {})


def test_processes_that_share_a_folder_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write_often, args=(tmp_path, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    entries = json.loads((tmp_path / "manifest.json").read_text())["videos"]
    assert len(entries) == 2 * WRITES
    both, files = run_of(tmp_path, "a", "b")
    assert both.load(files, torch.device("cpu")).state.videos == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        "track.state", "manifest.json", "a.csv.partial", "b.csv.partial",
    }  # fmt: skip


def test_a_folder_is_locked_by_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("clnf_torch.files.locks.PATIENCE", 0.05)
    with locked_folder(tmp_path) as first, locked_folder(tmp_path) as second:
        assert (first, second) == (True, False)
    assert not any(tmp_path.iterdir())
