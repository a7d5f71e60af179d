"""The files that are written for each of several videos."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import torch
import typer
from torch import Tensor

from clnf_torch.cli.drawing import FreeNames
from clnf_torch.cli.options import STDOUT
from clnf_torch.cli.output import JSONRows, json_file, measured_records
from clnf_torch.cli.video import FORMATS
from clnf_torch.cli.video_frames import FrameSource
from clnf_torch.export.csv import csv_file
from clnf_torch.export.face_table import FaceTable
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.geometry.records import map_tensors
from clnf_torch.measures.landmarks_3d import FittedShape
from clnf_torch.measures.measure import Measures, measure
from clnf_torch.pipeline import FitResult, LandmarkDetector

# Fields that every row has
HEAD = {"frame", "face_id", "timestamp", "confidence", "success"}


@dataclass(frozen=True, kw_only=True)
class FaceRows:
    """R fitted faces, and where they belong."""

    faces: FitResult  # R rows
    success: Tensor  # (R,) bool
    frame: Tensor  # (R,) int64, from 1
    face_id: Tensor  # (R,) int64
    timestamp: Tensor  # (R,) seconds, float64

    def __len__(self) -> int:
        """Number of rows R."""
        return len(self.frame)


def face_table(rows: FaceRows, detector: LandmarkDetector, camera: Intrinsics, likelihoods: bool = False) -> FaceTable:
    """All that a table can say about fitted faces.

    Args:
        rows: The faces.
        detector: What fitted them.
        camera: What saw them.
        likelihoods: Whether to add the landmarks' likelihoods.

    Returns:
        As many rows, on the CPU. Where no face has been seen yet all numbers are 0.
    """
    faces = rows.faces
    table = FaceTable.of(
        frame=rows.frame,
        face_id=rows.face_id,
        timestamp=rows.timestamp,
        confidence=faces.confidence,
        success=rows.success,
        landmarks=faces.landmarks,
        params=faces.params,
        measures=_measured(faces, detector, camera),
        likelihoods=faces.landmark_likelihoods if likelihoods else None,
    )
    # Also where they are not numbers
    seen = (faces.landmarks != 0).flatten(1).any(1)
    return _blank_unseen(table, seen)


def _measured(faces: FitResult, detector: LandmarkDetector, camera: Intrinsics) -> Measures:
    """3D landmarks, pose and gaze of fitted faces."""
    model = detector.model
    parts = {part.name: (part.model.pdm, faces.parts[part.name]) for part in model.parts if part.name in faces.parts}
    return measure(
        FittedShape(model.pdm, faces.params, faces.landmarks),
        {name: FittedShape(pdm, fit.params, fit.landmarks) for name, (pdm, fit) in parts.items()},
        camera,
        detector.numerics,
    )


def _blank_unseen(table: FaceTable, seen: Tensor) -> FaceTable:
    """The table on the CPU, with 0 for everything in rows (R,) where no face was seen."""
    changed: dict[str, Any] = {}
    for field in fields(table):
        value = getattr(table, field.name)
        if isinstance(value, Tensor):
            kept = seen | (field.name in HEAD)
            changed[field.name] = torch.where(kept.view(-1, *[1] * (value.ndim - 1)), value, 0).cpu()
    return replace(table, **changed)


class TableFile(Protocol):
    """Anything that takes rows."""

    def append(self, table: FaceTable) -> None:
        """Takes the rows of a table."""
        ...


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The files to write."""

    csv: Path | None = None
    parquet: Path | None = None
    json: Path | None = None
    image_mode: bool = False  # columns of images instead of frames
    openface_precision: bool = False  # of the CSV file

    def __bool__(self) -> bool:
        """Whether there are any."""
        return any((self.csv, self.parquet, self.json))


class FaceFiles:
    """Open files that take the same rows.

    Args:
        tables: Those that take tables.
        json: The JSON document, if there is one.
    """

    def __init__(self, tables: Sequence[TableFile], json: JSONRows | None) -> None:
        self._tables, self._json = tables, json

    def append(self, table: FaceTable, faces: FitResult, heads: Sequence[Mapping[str, Any]]) -> None:
        """Takes R rows.

        Args:
            table: What was measured.
            faces: What was fitted.
            heads: What each record of the JSON document begins with.
        """
        for file in self._tables:
            file.append(table)
        if self._json is not None:
            self._json.append(measured_records(heads, map_tensors(Tensor.cpu, faces), table))


@contextlib.contextmanager
def face_files(targets: Targets, head: Mapping[str, Any]) -> Iterator[FaceFiles]:
    """Opens files, which appear under their names when the block ends, with all rows so far.

    Args:
        targets: The files.
        head: What the JSON document begins with.

    Raises:
        RuntimeError: Parquet is asked for and pyarrow is not there.
    """
    with contextlib.ExitStack() as stack:
        tables: list[TableFile] = []
        if targets.csv is not None:
            rounded = targets.openface_precision
            tables.append(
                stack.enter_context(csv_file(targets.csv, image_mode=targets.image_mode, openface_precision=rounded))
            )
        if targets.parquet is not None:
            tables.append(stack.enter_context(_parquet_file(targets.parquet, targets.image_mode)))
        json = stack.enter_context(json_file(targets.json, head)) if targets.json is not None else None
        yield FaceFiles(tables, json)


def _parquet_file(path: Path, image_mode: bool) -> contextlib.AbstractContextManager[TableFile]:
    """A Parquet file; pyarrow is loaded only now."""
    try:
        from clnf_torch.export.parquet import parquet_file
    except ImportError as error:
        raise RuntimeError(str(error)) from error
    return parquet_file(path, image_mode=image_mode)


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
