"""Tables as Apache Parquet, until they are complete as a folder of files; needs pyarrow: ``clnf-torch[tables]``."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.export.face_table import Block, FaceTable, columns
from clnf_torch.files.growing import PartialError, set_aside
from clnf_torch.files.locks import held
from clnf_torch.files.writing import NEW, partial_of, write_atomically

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError as error:
    raise ImportError("Parquet files need pyarrow; install it with: pip install 'clnf-torch[tables]'") from error

Kind = tuple[tuple[str, ...], torch.dtype | None]
# Rows of a group, 11 MB; for each group the writer then keeps 0.6 MB to the end
ROW_GROUP = 4096


class ParquetRows:
    """Writes rows as files in a folder. Numbers keep their types: whole ones int64, others float32 or float64.

    Args:
        folder: Where the files are.
        parts: How many there are.
        image_mode: See `columns`.
    """

    def __init__(self, folder: Path, parts: int, *, image_mode: bool = False) -> None:
        self._folder, self._parts, self._image_mode = folder, parts, image_mode
        self._kinds: list[Kind] = []
        self._waiting: list[list[Block]] = []
        self._rows = 0

    def append(self, table: FaceTable) -> None:
        """Takes the rows of a table; they are written when there are enough for a group, or when `position` is asked.

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

    def position(self) -> int:
        """How many files are written, with all rows so far in them, for `parquet_file` to go on behind."""
        if self._waiting:
            self._write()
        return self._parts

    def _write(self) -> None:
        """Writes the rows that wait as one file."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        arrays: dict[str, pa.Array] = {}
        for blocks in zip(*waiting, strict=True):
            arrays |= _arrays(blocks)
        with write_atomically(self._folder / _part(self._parts), self._folder / f"_{NEW}") as file:
            parquet.write_table(pa.Table.from_pydict(arrays), file)
        self._parts += 1


@contextlib.contextmanager
def parquet_file(
    path: str | os.PathLike[str], *, image_mode: bool = False, position: int | None = None
) -> Iterator[ParquetRows]:
    """A Parquet file in OpenFace's columns that grows with the rows appended to it.

    It appears under its name when the block ends; until then, and if anything stops the block, its rows are in
    ``NAME.partial``, a folder that is read like a Parquet file.

    Args:
        path: The file, replaced if it exists.
        image_mode: See `columns`.
        position: Files of an earlier ``NAME.partial`` to go on behind.

    Raises:
        PartialError: There are not as many.
        OSError: It cannot be written, or another process writes it.
    """
    folder = partial_of(path)
    if position is None:
        set_aside(path)
    folder.mkdir(exist_ok=True)
    with held(folder):
        _clear(folder, position or 0)
        rows = ParquetRows(folder, position or 0, image_mode=image_mode)
        try:
            yield rows
            parts = rows.position()
        except BaseException:
            with contextlib.suppress(OSError):
                if not rows.position():
                    folder.rmdir()
            raise
        if parts:
            _publish(folder, Path(path))
        else:
            folder.rmdir()


def arrow_table(table: FaceTable, *, image_mode: bool = False) -> pa.Table:
    """The rows of a table in memory, in the columns and types of a Parquet file.

    Args:
        table: The rows.
        image_mode: See `columns`.
    """
    arrays: dict[str, pa.Array] = {}
    for block in columns(table, image_mode=image_mode):
        arrays |= _arrays([_without_gradient(block)])
    return pa.Table.from_pydict(arrays)


def _clear(folder: Path, parts: int) -> None:
    """Keeps the first files of a folder."""
    kept = {_part(number) for number in range(parts)}
    found = {file.name for file in folder.iterdir()}
    if kept - found:
        raise PartialError(f"{folder}: expected {len(kept)} files to go on with, found {len(kept & found)}")
    for name in found - kept:
        (folder / name).unlink()


def _part(number: int) -> str:
    """The name of a file in the folder."""
    return f"{number:06}.parquet"


def _publish(folder: Path, path: Path) -> None:
    """Makes one file of those in a folder, in groups of rows that do not depend on when they were written."""
    files = sorted(folder.glob("*.parquet"))
    waiting: list[pa.Table] = []
    # Opened here and not by name: a folder called a=b would become a column, and names that are no UTF-8 are refused
    with files[0].open("rb") as opened:
        schema = parquet.read_schema(opened)
    with write_atomically(path) as file, parquet.ParquetWriter(file, schema) as writer:
        for part in files:
            with part.open("rb") as opened:
                waiting.append(parquet.ParquetFile(opened).read())
            if sum(map(len, waiting)) >= ROW_GROUP:
                table = pa.concat_tables(waiting)
                whole = len(table) // ROW_GROUP * ROW_GROUP
                writer.write_table(table.slice(0, whole).combine_chunks(), row_group_size=ROW_GROUP)
                waiting = [table.slice(whole)]
        if rest := pa.concat_tables(waiting).combine_chunks():
            writer.write_table(rest, row_group_size=ROW_GROUP)
    shutil.rmtree(folder)


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
