"""Tables as Apache Parquet, in groups of rows; needs pyarrow: ``pip install 'clnf-torch[tables]'``."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

import torch
from torch import Tensor

from clnf_torch.export.face_table import Block, FaceTable, columns
from clnf_torch.models.files import write_atomically

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError as error:
    raise ImportError("Parquet files need pyarrow; install it with: pip install 'clnf-torch[tables]'") from error

Kind = tuple[tuple[str, ...], torch.dtype | None]
# Rows that are gathered, 11 MB; for each group the writer then keeps 0.6 MB to the end
ROW_GROUP = 4096


class ParquetRows:
    """Appends rows to a file. Numbers keep their types: whole ones int64, others float32 or float64.

    Args:
        file: Open for writing bytes.
        image_mode: See `columns`.
    """

    def __init__(self, file: BinaryIO, *, image_mode: bool = False) -> None:
        self._file, self._image_mode = file, image_mode
        self._writer: parquet.ParquetWriter | None = None
        self._kinds: list[Kind] = []
        self._waiting: list[list[Block]] = []
        self._rows = 0

    def append(self, table: FaceTable) -> None:
        """Takes the rows of a table; they are written when there are enough for a group.

        Raises:
            ValueError: It has other columns than the first one.
        """
        blocks = [_without_gradient(block) for block in columns(table, image_mode=self._image_mode)]
        kinds = [_kind(block) for block in blocks]
        if self._kinds and kinds != self._kinds:
            raise ValueError("these rows have other columns, or of other types, than the first ones")
        self._kinds = kinds
        self._waiting.append(blocks)
        self._rows += len(table)
        if self._rows >= ROW_GROUP:
            self._write()

    def close(self) -> None:
        """Writes the rows that wait, and the end of the file."""
        if self._waiting:
            self._write()
        if self._writer is not None:
            self._writer.close()

    def _write(self) -> None:
        """Writes the rows that wait as one group."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        arrays: dict[str, pa.Array] = {}
        for blocks in zip(*waiting, strict=True):
            arrays |= _arrays(blocks)
        group = pa.Table.from_pydict(arrays)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._file, group.schema)
        self._writer.write_table(group)


@contextlib.contextmanager
def parquet_file(path: str | os.PathLike[str], *, image_mode: bool = False) -> Iterator[ParquetRows]:
    """A Parquet file in OpenFace's columns that grows with the rows appended to it.

    It appears under its name when the block ends, with all rows so far, also when an error or Ctrl-C ends it.

    Args:
        path: The file, replaced if it exists.
        image_mode: See `columns`.
    """
    with write_atomically(path, keep_partial=True) as file:
        rows = ParquetRows(file, image_mode=image_mode)
        try:
            yield rows
        finally:
            rows.close()


def _without_gradient(block: Block) -> Block:
    """The block on the CPU, without its gradient."""
    return block if isinstance(block.values, tuple) else replace(block, values=block.values.detach().cpu())


def _kind(block: Block) -> Kind:
    """What blocks must have in common to stand below one another."""
    return block.names, None if isinstance(block.values, tuple) else block.values.dtype


def _arrays(blocks: Sequence[Block]) -> dict[str, pa.Array]:
    """The columns of blocks that stand below one another."""
    texts = [text for block in blocks if isinstance(block.values, tuple) for text in block.values]
    values = [block.values for block in blocks if isinstance(block.values, Tensor)]
    names = blocks[0].names
    if not values:
        return {names[0]: pa.array(texts, pa.string())}
    return dict(zip(names, map(pa.array, torch.cat(values).mT.contiguous().numpy()), strict=True))
