"""The saved state of a run over videos: how far each has come, and whether it can go on from there."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any

import torch

from clnf_torch.cli.console import notice
from clnf_torch.cli.manifest import Task
from clnf_torch.cli.options import STDOUT
from clnf_torch.cli.outputs import ALIGNED, Targets
from clnf_torch.cli.videos.video_writer import image_count
from clnf_torch.files.archive_reader import ArchiveError, read_archive
from clnf_torch.files.locks import locked_folder
from clnf_torch.files.names import one_line
from clnf_torch.files.writing import partial_of, remove_file, shared_partial_of, write_atomically
from clnf_torch.media.parallel_videos import Snapshot
from clnf_torch.media.video_frames import FrameSource
from clnf_torch.tracking import TrackState

FORMAT, VERSION = "clnf_torch run", 3


class SavedRun:
    """The file of the states of runs that write into one folder; each changes what is known of its own videos alone.

    Args:
        path: The file; None: nothing can be saved.
        tasks: What is to be done with each video.
    """

    def __init__(self, path: Path | None, tasks: Mapping[FrameSource, Task]) -> None:
        self.path, self.tasks = path, tasks

    def save(self, snapshot: Snapshot) -> None:
        """Writes what goes on from here; the file has its name only once it is complete."""
        videos = [
            {"task": asdict(self.tasks[source]), "sink": sink}
            for source, sink in zip(snapshot.sources, snapshot.sinks, strict=True)
        ]
        # On the host: the card that it was on may not be there when it goes on
        state = snapshot.state.to("cpu")
        self._replace([{"state": state.to_dict(), "videos": videos}] if videos else [])

    def remove(self) -> None:
        """Forgets the state."""
        self._replace([])

    def _replace(self, own: list[dict[str, Any]]) -> None:
        """Puts the state of this run into the place of what is known of its videos."""
        if self.path is None:
            return
        with locked_folder(self.path.parent) as locked:
            runs = [*self._others(), *own]
            if not runs:
                remove_file(self.path)
                return
            with write_atomically(self.path, shared_partial_of(self.path, locked)) as file:
                torch.save({"format": FORMAT, "version": VERSION, "runs": runs}, file)

    def _others(self) -> Iterator[dict[str, Any]]:
        """What the file holds of videos that are not of this run; nothing where it is no such file."""
        assert self.path is not None
        mine = {file for task in self.tasks.values() for file in task.outputs.values()}
        try:
            runs = _runs(self.path) if self.path.is_file() else []
            for run in runs:
                kept = [row for row, video in enumerate(run["videos"]) if not mine & _outputs(video)]
                if kept:
                    state = TrackState.from_dict(run["state"]).select(torch.tensor(kept, device="cpu"))
                    yield {"state": state.to_dict(), "videos": [run["videos"][row] for row in kept]}
        except (ArchiveError, OSError, ValueError, KeyError, TypeError):
            return

    def load(self, sources: Mapping[FrameSource, Targets], device: torch.device) -> Snapshot | None:
        """What was saved of these videos, as far as they can go on from it; says in a line each whether, and why not.

        Args:
            sources: Videos that are not finished, and their files.
            device: Where they are tracked.
        """
        if self.path is None:
            return None
        try:
            return self._usable(_runs(self.path) if self.path.is_file() else [], sources, device)
        except (ArchiveError, ValueError, KeyError, TypeError) as error:
            found = one_line(str(error))[:100]
            notice(f"{self.path}: expected the saved state of a run, found another file ({found}); all begins anew")
            return None

    def _usable(
        self, runs: list[dict[str, Any]], sources: Mapping[FrameSource, Targets], device: torch.device
    ) -> Snapshot | None:
        """The part of saved states with which videos go on."""
        by_file = {file: source for source in sources for file in self.tasks[source].outputs.values()}
        usable, known = list[Snapshot](), set[FrameSource]()
        for run in runs:
            state = TrackState.from_dict(run["state"]).to(device)
            kept: list[tuple[int, FrameSource, dict[str, Any]]] = []
            for row, video in enumerate(run["videos"]):
                source = next((by_file[file] for file in sorted(_outputs(video)) if file in by_file), None)
                if source is None or source in known:
                    continue
                known.add(source)
                if reason := self.tasks[source].difference(video["task"]) or _missing(sources[source], video["sink"]):
                    notice(f"{source.path}: begins anew: {reason}")
                else:
                    notice(f"{source.path}: goes on behind frame {int(state.frame[row])}")
                    kept.append((row, source, video["sink"]))
            if kept:
                rows = torch.tensor([row for row, _, _ in kept], device=device)
                usable.append(Snapshot(state.select(rows), [one for _, one, _ in kept], [sink for *_, sink in kept]))
        for source in sources:
            if source not in known and (left := _left(sources[source])):
                notice(f"{source.path}: begins anew: nothing is saved of it beside {left.name}")
        return reduce(_joined, usable) if usable else None


def _runs(path: Path) -> list[dict[str, Any]]:
    """The states in a file, each with its videos.

    Raises:
        ArchiveError: It cannot be read.
        ValueError: It is of another version.
    """
    content = read_archive(path, mmap=False)
    if (content["format"], content["version"]) != (FORMAT, VERSION):
        raise ValueError(f"version {content['version']} of {content['format']}")
    runs: list[dict[str, Any]] = content["runs"]
    return runs


def _outputs(video: Mapping[str, Any]) -> set[str]:
    """The files of a video that was saved."""
    return set(video["task"]["outputs"].values())


def _joined(first: Snapshot, second: Snapshot) -> Snapshot:
    """The videos of two runs side by side."""
    return Snapshot(first.state.join(second.state), first.sources + second.sources, first.sinks + second.sinks)


def _left(targets: Targets) -> Path | None:
    """A partial file that an earlier run left of a video, or None."""
    partials = (partial_of(path) for path in targets.given().values() if path != STDOUT)
    return next((partial for partial in partials if partial.exists()), None)


def _missing(targets: Targets, sink: Mapping[str, Any]) -> str | None:
    """Which partial file holds less than was saved, or None."""
    for option, path in targets.given().items():
        if option == ALIGNED:
            if not path.is_dir():
                return f"{path.name} is missing"
            continue
        partial = partial_of(path)
        if option == "--draw":
            there, expected = image_count(partial), (sink["drawing"] or [0])[0]
        elif option == "--parquet":
            there, expected = len(list(partial.glob("[0-9]*.parquet"))), sink["positions"].get(option, 0)
        else:
            there, expected = partial.stat().st_size if partial.is_file() else 0, sink["positions"].get(option, 0)
        if there < expected or (not partial.exists() and option != "--draw"):
            return f"{partial.name} is missing, or shorter than it was"
    return None
