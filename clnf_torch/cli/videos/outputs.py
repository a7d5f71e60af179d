"""The files of videos: those of a single one, or a folder in which every video has files of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from clnf_torch.cli.drawing import FreeNames
from clnf_torch.cli.manifest import NAME as MANIFEST
from clnf_torch.cli.openface.aligned_files import SUFFIX
from clnf_torch.cli.options import STDOUT
from clnf_torch.cli.output_check import Output
from clnf_torch.cli.outputs import Targets
from clnf_torch.cli.videos.summary import is_summary
from clnf_torch.cli.videos.video_writer import FORMATS

# The state of an unfinished run, and the numbers of all videos, in a folder of outputs
STATE, SUMMARY = "track.state", "summary.csv"


class VideoOutputs:
    """What was asked for: files of a single video, or folders in which every video has files of its own.

    Names follow the order in which the videos were given, whatever can be read of them.

    Args:
        targets: The files or folders.
        videos: All that were given.
        names: What their files are called without suffix; by default as the videos.
        drawn: The suffix of drawn videos in a folder.

    Raises:
        typer.BadParameter: There is nothing to write, or one file for several videos.
    """

    def __init__(
        self, targets: Targets, videos: Sequence[Path], names: Sequence[str] | None = None, drawn: str = ".mp4"
    ) -> None:
        self.targets, self._drawn, draw = targets, drawn, targets.draw
        if not targets.given():
            raise typer.BadParameter("nothing to write; give --csv, --parquet, --json or --draw")
        for option, path in targets.given().items():
            if len(videos) > 1 and not is_folder(path):
                raise typer.BadParameter(f"{option} {path}: there are several videos; give a folder")
        if draw is not None and not is_folder(draw) and draw.suffix.lower() not in FORMATS:
            raise typer.BadParameter(f"--draw {draw}: give a name that ends with {', '.join(FORMATS)}, or a folder")
        free_name = FreeNames()
        # Their files would take the places of these
        for taken in (MANIFEST, SUMMARY):
            free_name(Path(taken).stem)
        self.files = [self._of(free_name(name)) for name in (names or map(video_name, videos))]

    def outputs(self) -> list[Output]:
        """The folders, the files of all videos, and those beside them."""
        folders = [Output(option, path, folder=True) for option, path in self._folders()]
        beside = {"the manifest": self.manifest(), "the state of the run": self.state(), "the summary": self.summary()}
        others = [Output(what, path) for what, path in beside.items() if path is not None]
        return [*folders, *(output for files in self.files for output in files.outputs()), *others]

    def make_folders(self) -> None:
        """Makes the folders that are missing."""
        for _, path in self._folders():
            path.mkdir(parents=True, exist_ok=True)

    def _folders(self) -> Iterator[tuple[str, Path]]:
        """The outputs that are folders, with their options."""
        return ((option, path) for option, path in self.targets.given().items() if is_folder(path))

    def _of(self, name: str) -> Targets:
        """The files of a video by its name."""
        asked = self.targets
        return replace(
            asked,
            csv=asked.csv and _file(asked.csv, f"{name}.csv"),
            parquet=asked.parquet and _file(asked.parquet, f"{name}.parquet"),
            json=asked.json and _file(asked.json, f"{name}.json"),
            draw=asked.draw and _file(asked.draw, f"{name}{self._drawn}"),
            aligned=asked.aligned and asked.aligned / f"{name}{SUFFIX}",
        )

    def manifest(self) -> Path | None:
        """Where the manifest lies, see `manifest_place`."""
        return manifest_place(self.targets)

    def summary(self) -> Path | None:
        """Where the summary of several videos lies: in the first of the folders; of one, where others have one."""
        first = _first(self.targets)
        if first is None or not is_folder(first):
            return None
        path = first / SUMMARY
        return path if len(self.files) > 1 or is_summary(path) else None

    def state(self) -> Path | None:
        """Where the state of an unfinished run lies; None where nothing can go on from it."""
        first = _first(self.targets)
        if first is None or STDOUT in self.targets.given().values():
            return None
        return first / STATE if is_folder(first) else first.with_name(f"{first.name}.state")


def manifest_place(targets: Targets) -> Path | None:
    """Where the manifest of videos lies, or is going to: beside the first of the outputs; None where all are stdout."""
    first = _first(targets)
    return None if first is None else (first if is_folder(first) else first.parent) / MANIFEST


def video_name(path: Path) -> str:
    """What the outputs of a video are called."""
    if path == STDOUT:
        return "stdin"
    if str(path).isdecimal() and not path.exists():
        return f"camera_{path}"
    # "." and ".." are no names
    name = path.name if path.name not in {"", ".."} else path.resolve().name
    # Folders have no suffix: "P01.s1" and "P01.s2" are two
    return name if path.is_dir() else name.removesuffix(path.suffix) or "video"


def is_folder(path: Path) -> bool:
    """Whether a path given for an output is that of a folder: it is one, or its name has no suffix."""
    return path != STDOUT and (path.is_dir() or not path.suffix)


def _first(targets: Targets) -> Path | None:
    """The first output that is no stream."""
    return next((path for path in targets.given().values() if path != STDOUT), None)


def _file(path: Path, name: str) -> Path:
    """The path, or the file of that name in it if it is that of a folder."""
    return path / name if is_folder(path) else path
