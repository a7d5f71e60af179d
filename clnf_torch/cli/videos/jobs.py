"""The videos of a run with what is to be done for each: which are finished, and what is entered when they are."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clnf_torch.cli.console import Complaints, notice
from clnf_torch.cli.manifest import Manifest, Task, file_hash
from clnf_torch.cli.outputs import Targets
from clnf_torch.cli.videos.resume import SavedRun
from clnf_torch.media.recording import Recording
from clnf_torch.media.video_frames import FrameSource


@dataclass
class VideoJobs:
    """Videos that can be read.

    Attributes:
        targets: Their files.
        tasks: What decides the contents of these.
        manifest: Where finished ones are entered.
        saved: Where the state of unfinished ones is.
    """

    targets: dict[FrameSource, Targets]
    tasks: dict[FrameSource, Task]
    manifest: Manifest
    saved: SavedRun

    @classmethod
    def of(
        cls,
        targets: dict[FrameSource, Targets],
        model: Path,
        settings: Mapping[str, Any],
        manifest: Manifest,
        state: Path | None,
    ) -> "VideoJobs":
        """The videos with these files, of a run with this weights file, these settings and this file of its state."""
        digest = file_hash(model)
        tasks = {source: Task.of(source.path, digest, settings, files.given()) for source, files in targets.items()}
        return cls(targets, tasks, manifest, SavedRun(state, tasks))

    def unfinished(
        self, complaints: Complaints, finished: Callable[[Mapping[str, Any]], None]
    ) -> dict[FrameSource, Targets]:
        """Videos that no earlier run finished, and their files; says which are skipped, and which are no longer.

        Args:
            complaints: Told what was wrong with those that are skipped, and which would replace outputs of others.
            finished: Told the entries of these.
        """
        left = {}
        for source, files in self.targets.items():
            entry = self.manifest.finished(self.tasks[source])
            if other := self.manifest.other_input(self.tasks[source]):
                there = next(iter(files.given().values()))
                complaints(f"{source.path}: {there} was made of {other}; give another folder or name")
                continue
            if entry is None:
                left[source] = files
                if reason := self.manifest.changed(self.tasks[source]):
                    notice(f"{source.path}: begins anew: {reason}")
                continue
            notice(f"{source.path}: finished by an earlier run; skipped")
            finished(entry)
            if entry.get("problem"):
                complaints(entry["problem"])
        return left

    def read_contents(self, sources: Iterable[FrameSource]) -> None:
        """Reads what the manifest is going to know videos by; those that are skipped are spared it."""
        for source in sources:
            self.tasks[source] = self.tasks[source].with_content()

    def finish(self, source: FrameSource, record: Recording) -> dict[str, Any]:
        """Enters a finished video, and gives its entry."""
        return self.manifest.add(self.tasks[source], {**record.entry(), "problem": source.problem})
