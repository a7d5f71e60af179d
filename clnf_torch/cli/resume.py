"""The saved state of a run over videos: how far each has come, and whether it can go on from there."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from clnf_torch.cli.console import notice
from clnf_torch.cli.manifest import Task
from clnf_torch.cli.outputs import ALIGNED, Targets
from clnf_torch.cli.video_writer import image_count
from clnf_torch.media.parallel_videos import Snapshot
from clnf_torch.media.video_frames import FrameSource
from clnf_torch.models.archive_reader import ArchiveError, read_archive
from clnf_torch.models.files import one_line, partial_of, remove_file, write_atomically
from clnf_torch.tracking import TrackState

FORMAT, VERSION = "clnf_torch run", 2


class SavedRun:
    """The file of a run's state.

    Args:
        path: The file; None: nothing can be saved.
        tasks: What is to be done with each video.
    """

    def __init__(self, path: Path | None, tasks: Mapping[FrameSource, Task]) -> None:
        self.path, self.tasks = path, tasks

    def save(self, snapshot: Snapshot) -> None:
        """Writes what goes on from here; the file has its name only once it is complete."""
        if self.path is None:
            return
        videos = [
            {"task": asdict(self.tasks[source]), "sink": sink}
            for source, sink in zip(snapshot.sources, snapshot.sinks, strict=True)
        ]
        content = {"format": FORMAT, "version": VERSION, "state": snapshot.state.to_dict(), "videos": videos}
        with write_atomically(self.path) as file:
            torch.save(content, file)

    def remove(self) -> None:
        """Forgets the state."""
        if self.path is not None:
            remove_file(self.path)

    def load(self, sources: Mapping[FrameSource, Targets], device: torch.device) -> Snapshot | None:
        """What was saved of these videos, as far as they can go on from it; says in a line each whether, and why not.

        Args:
            sources: Videos that are not finished, and their files.
            device: Where they are tracked.
        """
        if self.path is None or not self.path.is_file():
            return None
        try:
            content = read_archive(self.path, mmap=False)
            if (content["format"], content["version"]) != (FORMAT, VERSION):
                raise ValueError(f"version {content['version']} of {content['format']}")
            return self._usable(content, sources, device)
        except (ArchiveError, ValueError, KeyError, TypeError) as error:
            found = one_line(str(error))[:100]
            notice(f"{self.path}: expected the saved state of a run, found another file ({found}); all begins anew")
            return None

    def _usable(
        self, content: Mapping[str, Any], sources: Mapping[FrameSource, Targets], device: torch.device
    ) -> Snapshot | None:
        """The part of a saved state with which videos go on."""
        state = TrackState.from_dict(content["state"]).to(device)
        by_outputs = {tuple(self.tasks[source].outputs.values()): source for source in sources}
        kept: list[tuple[int, FrameSource, dict[str, Any]]] = []
        for number, video in enumerate(content["videos"]):
            source = by_outputs.get(tuple(video["task"]["outputs"].values()))
            if source is None:
                continue
            frames = int(state.frame[number])
            if reason := self.tasks[source].difference(video["task"]) or _missing(sources[source], video["sink"]):
                notice(f"{source.path}: begins anew: {reason}")
            else:
                notice(f"{source.path}: goes on behind frame {frames}")
                kept.append((number, source, video["sink"]))
        if not kept:
            return None
        numbers = torch.tensor([number for number, _, _ in kept], device=device)
        return Snapshot(state.select(numbers), [source for _, source, _ in kept], [sink for _, _, sink in kept])


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
