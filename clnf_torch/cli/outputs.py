"""The files that a command writes: tables, JSON and drawings, of images and of each of several videos."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import typer
from torch import Tensor

from clnf_torch.cli.console import add_note, notice
from clnf_torch.cli.drawing import Drawing, drawn_files
from clnf_torch.cli.openface.aligned_files import DEFAULT_ALIGNMENT, SUFFIX, Alignment
from clnf_torch.cli.options import STDOUT
from clnf_torch.cli.output_check import Output
from clnf_torch.cli.streams import require_stdout
from clnf_torch.export.csv import DEFAULT_FORM, CSVForm, csv_file, csv_stream
from clnf_torch.export.face_table import FaceTable
from clnf_torch.export.json import JSONRows, face_lines, image_heads, json_document, json_file
from clnf_torch.files.growing import SAVE_EVERY, set_aside
from clnf_torch.files.names import escaped_names
from clnf_torch.files.writing import partial_of
from clnf_torch.geometry.records import map_tensors
from clnf_torch.media.batches import Batch
from clnf_torch.media.image_folder import DETAILS
from clnf_torch.pipeline import FitResult

# What "-" sends to stdout
STREAMED = ("--csv", "--json")
# The option of aligned faces, which only ``clnf-torch openface`` has
ALIGNED = "-simalign"


class TableFile(Protocol):
    """Anything that takes rows."""

    def append(self, table: FaceTable) -> None:
        """Takes the rows of a table."""
        ...

    def position(self) -> int:
        """Where it has come to, with all rows so far written."""
        ...


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The files to write."""

    csv: Path | None = None
    parquet: Path | None = None
    json: Path | None = None
    draw: Path | None = None  # a folder for images, a video file for a video
    aligned: Path | None = None  # a folder
    form: CSVForm = DEFAULT_FORM  # of the CSV file
    alignment: Alignment = DEFAULT_ALIGNMENT  # of the aligned faces

    def __post_init__(self) -> None:
        """Refuses two documents on one stream."""
        if self.csv == self.json == STDOUT:
            raise typer.BadParameter("--csv - and --json - would both go to stdout; give one of them a file")
        if STDOUT in (self.csv, self.json):
            require_stdout("give --csv or --json a file")

    def given(self) -> dict[str, Path]:
        """The paths that were given, by their options."""
        paths = {"--csv": self.csv, "--parquet": self.parquet, "--json": self.json, "--draw": self.draw}
        return {option: path for option, path in {**paths, ALIGNED: self.aligned}.items() if path is not None}

    def are_there(self) -> bool:
        """Whether all exist; aligned faces are complete where they are described."""
        described = [] if self.aligned is None else [self.details()]
        return all(path.exists() for path in [*self.given().values(), *described])

    def details(self) -> Path:
        """Where OpenFace's description of the outputs of one input lies: ``NAME_of_details.txt`` beside them."""
        option, first = next(iter(self.given().items()))
        name = first.name.removesuffix(SUFFIX) if option == ALIGNED else first.stem
        return first.with_name(f"{name}{DETAILS}")

    def outputs(self) -> list[Output]:
        """The files, without stdout."""
        given = self.given().items()
        written = [(option, path) for option, path in given if path != STDOUT or option not in STREAMED]
        return [Output(option, path, folder=option == ALIGNED) for option, path in written]

    def image_outputs(self, images: Sequence[Path]) -> list[Output]:
        """The files, the folder of drawings, and the drawings of images in it."""
        files = replace(self, draw=None).outputs()
        if self.draw is None:
            return files
        drawn = [Output("--draw", self.draw / name) for name in drawn_files(images)]
        return [*files, Output("--draw", self.draw, folder=True), *drawn]


class FaceFiles:
    """Open files that take the same rows.

    Args:
        tables: Those that take tables, by their options.
        json: The JSON document, if there is one.
    """

    def __init__(self, tables: Mapping[str, TableFile], json: JSONRows | None) -> None:
        self._tables, self._json = tables, json

    def append(self, table: FaceTable, faces: FitResult, heads: Sequence[Mapping[str, Any]]) -> None:
        """Takes R rows.

        Args:
            table: What was measured.
            faces: What was fitted.
            heads: What each record of the JSON document begins with.
        """
        for file in self._tables.values():
            file.append(table)
        if self._json is not None:
            self._json.append(face_lines(heads, map_tensors(Tensor.cpu, faces), table))

    def positions(self) -> dict[str, int]:
        """Where the files have come to, by their options, with all rows so far written."""
        found = {option: file.position() for option, file in self._tables.items()}
        return found if self._json is None else {**found, "--json": self._json.position()}


def keep_earlier(paths: Iterable[Path]) -> None:
    """Keeps what earlier runs left unfinished of files that are written anew, and says where."""
    for path in paths:
        if path != STDOUT and (kept := set_aside(path)) is not None:
            notice(f"{path}: what an earlier run left unfinished is now {kept}")


@contextlib.contextmanager
def partial_files_named(targets: Targets) -> Iterator[None]:
    """Lets what stops the block say at last where the unfinished files are."""
    try:
        yield
    except BaseException as error:
        left = [partial_of(path) for path in targets.given().values() if path != STDOUT]
        if names := ", ".join(str(partial) for partial in left if partial.exists()):
            add_note(error, f"clnf-torch: unfinished: {names}")
        raise


@contextlib.contextmanager
def face_files(
    targets: Targets,
    head: Mapping[str, Any],
    image_mode: bool = False,
    positions: Mapping[str, int] | None = None,
) -> Iterator[FaceFiles]:
    """Opens tables and JSON, which appear under their names when the block ends; until then they are ``NAME.partial``.

    Args:
        targets: The files.
        head: What the JSON document begins with.
        image_mode: Whether tables have the columns of images instead of frames.
        positions: From `FaceFiles.positions` of an earlier run, whose partial files are gone on with.

    Raises:
        RuntimeError: Parquet is asked for and pyarrow is not there.
        PartialError: The partial files hold less than that.
    """
    at, head = dict(positions or {}), escaped_names(head)
    with contextlib.ExitStack() as stack:
        tables: dict[str, TableFile] = {}
        if targets.csv == STDOUT:
            tables["--csv"] = csv_stream(sys.stdout.buffer, image_mode=image_mode, form=targets.form)
        elif targets.csv is not None:
            rows = csv_file(targets.csv, image_mode=image_mode, form=targets.form, position=at.get("--csv"))
            tables["--csv"] = stack.enter_context(rows)
        if targets.parquet is not None:
            groups = _parquet_file(targets.parquet, image_mode, at.get("--parquet"))
            tables["--parquet"] = stack.enter_context(groups)
        json = stack.enter_context(_json(targets.json, head, at.get("--json"))) if targets.json is not None else None
        yield FaceFiles(tables, json)


def _parquet_file(path: Path, image_mode: bool, position: int | None) -> contextlib.AbstractContextManager[TableFile]:
    """A Parquet file; pyarrow is loaded only now."""
    try:
        from clnf_torch.export.parquet import parquet_file
    except ImportError as error:
        raise RuntimeError(str(error)) from error
    return parquet_file(path, image_mode=image_mode, position=position)


def _json(path: Path, head: Mapping[str, Any], position: int | None) -> contextlib.AbstractContextManager[JSONRows]:
    """A JSON document, in a file or on stdout."""
    if path == STDOUT:
        return json_document(sys.stdout.buffer, head)
    return json_file(path, head, position=position)


class ImageOutputs:
    """Open files for the faces of images.

    Args:
        files: Tables and JSON.
        drawing: What draws, if anything.
    """

    def __init__(self, files: FaceFiles, drawing: Drawing | None) -> None:
        self._files, self._drawing = files, drawing
        self._written_at = time.monotonic()

    def append(self, batch: Batch, result: FitResult, table: FaceTable) -> None:
        """Takes the faces of a batch, and what was measured of them."""
        heads = image_heads(table.image or (), [box for job in batch.jobs for box in job.boxes])
        self._files.append(table, result, heads)
        if time.monotonic() - self._written_at >= SAVE_EVERY:
            self._files.positions()
            self._written_at = time.monotonic()
        if self._drawing:
            self._drawing.draw(batch, result, table)


@contextlib.contextmanager
def image_outputs(
    targets: Targets, model: Path, images: Sequence[Path], drawings: Sequence[str], quality: bool = False
) -> Iterator[ImageOutputs]:
    """Opens what was asked for; prints JSON if nothing was.

    Args:
        targets: The files.
        model: The bundle.
        images: Those that are read.
        drawings: The names of their drawings.
        quality: Drawings are in the colours of the landmarks' expected errors.
    """
    if not targets.given():
        targets = replace(targets, json=STDOUT)
    drawing = Drawing(targets.draw, images, drawings, quality) if targets.draw else None
    keep_earlier(targets.given().values())
    with (
        partial_files_named(targets),
        face_files(targets, {"model": str(model)}, image_mode=True) as files,
    ):
        yield ImageOutputs(files, drawing)
