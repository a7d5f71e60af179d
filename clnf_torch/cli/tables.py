"""Where rows of faces go: CSV, Parquet and JSON, each if it was asked for."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from clnf_torch.cli.output import JSONRows, json_file, measured_records
from clnf_torch.export.csv import csv_file
from clnf_torch.export.rows import FaceTable
from clnf_torch.pipeline import FitResult
from clnf_torch.tracking.rows import map_tensors


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
    image_mode: bool = False  # columns of pictures instead of frames
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
