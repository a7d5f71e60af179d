"""Tables as Apache Parquet, in groups of rows; needs pyarrow: ``pip install 'clnf-torch[tables]'``."""

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO

from clnf_torch.export.columns import Block, columns
from clnf_torch.export.files import growing_file
from clnf_torch.export.rows import FaceTable

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError as error:
    raise ImportError("Parquet files need pyarrow; install it with: pip install 'clnf-torch[tables]'") from error

ROW_GROUP = 1024  # rows that are gathered before they are written: 2.8 MB with all of OpenFace's columns


class ParquetRows:
    """Appends rows to a file. Numbers keep their types: whole ones int64, others float32 or float64.

    Args:
        file: Open for writing bytes.
        image_mode: See `columns`.
    """

    def __init__(self, file: BinaryIO, *, image_mode: bool = False) -> None:
        self._file, self._image_mode = file, image_mode
        self._writer: parquet.ParquetWriter | None = None
        self._waiting: list[pa.RecordBatch] = []

    def append(self, table: FaceTable) -> None:
        """Takes the rows of a table; they are written when there are enough for a group.

        Raises:
            ValueError: It has other columns than the first one.
        """
        batch = _record_batch(columns(table, image_mode=self._image_mode))
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._file, batch.schema)
        if batch.schema != self._writer.schema:
            raise ValueError("these rows have other columns, or of other types, than the first ones")
        self._waiting.append(batch)
        if sum(map(len, self._waiting)) >= ROW_GROUP:
            self._write()

    def close(self) -> None:
        """Writes the rows that wait, and the end of the file."""
        if self._writer is not None:
            self._write()
            self._writer.close()

    def _write(self) -> None:
        """Writes the rows that wait as one group."""
        assert self._writer is not None
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._writer.write_table(pa.Table.from_batches(waiting))


@contextlib.contextmanager
def parquet_file(path: str | os.PathLike[str], *, image_mode: bool = False) -> Iterator[ParquetRows]:
    """A Parquet file in OpenFace's columns that grows with the rows appended to it.

    It appears under its name when the block ends, with all rows so far, also when an error or Ctrl-C ends it.

    Args:
        path: The file, replaced if it exists.
        image_mode: See `columns`.
    """
    with growing_file(path) as file:
        rows = ParquetRows(file, image_mode=image_mode)
        try:
            yield rows
        finally:
            rows.close()


def _record_batch(blocks: list[Block]) -> pa.RecordBatch:
    """The columns of a table, each an array."""
    arrays: dict[str, pa.Array] = {}
    for block in blocks:
        if isinstance(block.values, tuple):
            arrays[block.names[0]] = pa.array(block.values, pa.string())
        else:
            arrays |= zip(block.names, map(pa.array, block.values.detach().cpu().mT.contiguous().numpy()), strict=True)
    return pa.RecordBatch.from_pydict(arrays)
