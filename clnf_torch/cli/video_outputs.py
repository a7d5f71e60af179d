"""The files that are written for each of several videos."""

from dataclasses import dataclass, replace
from pathlib import Path

import typer

from clnf_torch.cli.drawing import FreeNames
from clnf_torch.cli.frames import FrameSource
from clnf_torch.cli.options import STDOUT
from clnf_torch.cli.tables import Targets
from clnf_torch.cli.video import FORMATS


@dataclass(frozen=True)
class VideoFiles:
    """The files of one video."""

    targets: Targets
    draw: Path | None


class VideoOutputs:
    """What was asked for: files of a single video, or folders in which every video has files of its own.

    Args:
        targets: Tables and JSON.
        draw: Drawn videos.
        several: Whether there is more than one video.

    Raises:
        typer.BadParameter: There is nothing to write, or one file for several videos.
    """

    def __init__(self, targets: Targets, draw: Path | None, several: bool) -> None:
        self._targets, self._draw, self._free_name = targets, draw, FreeNames()
        given = {"--csv": targets.csv, "--parquet": targets.parquet, "--json": targets.json, "--draw": draw}
        asked = {option: path for option, path in given.items() if path is not None}
        if not asked:
            raise typer.BadParameter("say what to write: --csv, --parquet, --json or --draw")
        for option, path in asked.items():
            if several and not is_folder(path):
                raise typer.BadParameter(f"{option} {path}: give a folder, there are several videos")
        if draw is not None and not is_folder(draw) and draw.suffix.lower() not in FORMATS:
            raise typer.BadParameter(f"--draw {draw}: give a name that ends with {', '.join(FORMATS)}, or a folder")

    def of(self, source: FrameSource) -> VideoFiles:
        """The files of a video, in folders that are made now; to be asked once per video."""
        name = self._free_name(source.path.resolve().name.removesuffix(source.path.suffix))
        csv, parquet, json = self._targets.csv, self._targets.parquet, self._targets.json
        targets = replace(
            self._targets,
            csv=csv and _file(csv, f"{name}.csv"),
            parquet=parquet and _file(parquet, f"{name}.parquet"),
            json=json and _file(json, f"{name}.json"),
        )
        return VideoFiles(targets, self._draw and _file(self._draw, f"{name}.mp4"))


def is_folder(path: Path) -> bool:
    """Whether a path given for an output is that of a folder: it is one, or its name has no suffix."""
    return path != STDOUT and (path.is_dir() or not path.suffix)


def _file(path: Path, name: str) -> Path:
    """The path, or the file of that name in it if it is that of a folder."""
    if not is_folder(path):
        return path
    path.mkdir(parents=True, exist_ok=True)
    return path / name
