"""What folders on the command line stand for: their images, their videos, or the frames of one video."""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import typer

from clnf_torch.cli.console import complain, notice
from clnf_torch.cli.manifest import NAME as MANIFEST
from clnf_torch.cli.manifest import Manifest
from clnf_torch.files.names import escaped_name
from clnf_torch.media.image_folder import drawings, image_files, video_files


def video_inputs(paths: Iterable[Path], manifest: Path | None = None) -> list[Path]:
    """Videos as they were given, with those in folders but what earlier runs have drawn there.

    A folder that holds more videos than images stands for its videos, another one for one video of frames.

    Args:
        paths: Videos, folders, and what else can be tracked.
        manifest: Of the outputs, which says what was drawn, as does that of each folder.

    Returns:
        Videos, and folders of frames; what cannot be read is among them.
    """
    found = []
    for path in paths:
        videos, images = _not_drawn(_listed(video_files, path), path, manifest), _listed(image_files, path)
        if videos and len(videos) > len(images):
            found += videos
            if images:
                notice(f"{path}: its {len(videos)} videos are tracked; images beside them ({len(images)}) are left out")
        else:
            found.append(path)
    return found


def image_inputs(paths: Iterable[Path], manifest: Path | None = None) -> list[Path]:
    """Images as they were given, with those in folders but what earlier runs have drawn there.

    Args:
        paths: Images and folders.
        manifest: See `video_inputs`.

    Returns:
        Images; what cannot be read is among them.
    """
    found = []
    for path in paths:
        images = _not_drawn(_listed(image_files, path), path, manifest)
        found += images or [path]
        if images and (videos := video_files(path)):
            notice(f"{path}: its {len(images)} images are read; videos beside them ({len(videos)}) are left out")
    return found


def _not_drawn(files: list[Path], folder: Path, manifest: Path | None) -> list[Path]:
    """Files of a folder but those that manifests call drawings; says how many drawings of all kinds are left out."""
    drawn = set[str]()
    for place in {manifest, folder / MANIFEST} if files else ():
        # Whoever writes beside another file of that name says so
        with contextlib.suppress(OSError):
            drawn |= Manifest(place).drawings()
    left = [file for file in files if escaped_name(os.path.realpath(file)) not in drawn]
    if count := len(_listed(drawings, folder)) + len(files) - len(left):
        notice(f"{folder}: drawings of earlier runs ({count}) are left out")
    return left


def require_some(paths: Sequence[Path]) -> None:
    """Ends the program before anything is loaded where none of its images is there.

    Raises:
        typer.Exit: With code 1, after a line on stderr for each.
    """
    if any(os.path.lexists(path) for path in paths):
        return
    for path in paths:
        complain(f"{path}: expected an image or a folder, found nothing of that name")
    raise typer.Exit(1)


def _listed(files: Callable[[Path], list[Path]], path: Path) -> list[Path]:
    """Files of a folder; none where it is no folder, or whoever reads it is going to say what is wrong with it."""
    with contextlib.suppress(OSError):
        if os.path.isdir(path):
            return files(path)
    return []
