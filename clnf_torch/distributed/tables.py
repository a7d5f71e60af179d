"""What a job has written, read as tables."""

import os
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from clnf_torch.distributed.output import JobOutput
from clnf_torch.distributed.storage import StorageError


def read(output: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """All rows of a job, in the order of its inputs; of one that still runs, those that are complete.

    An input that was computed twice, because it has changed between two runs, has the rows of the last one.

    Args:
        output: The output of `detect_images` or `track_videos`.
        columns: Those to read; None: all.

    Returns:
        The columns of the command line; those of videos begin with ``video``, the name of the file.

    Raises:
        StorageError: There is no job, or none of its rows.
    """
    target = JobOutput(os.fspath(output))
    entries, video = target.entries(), target.job()["kind"] == "track"
    last = {each["input"]: entry["shard"] for entry in sorted(entries, key=_when) for each in entry["inputs"]}
    tables = []
    for entry in entries:
        current = [each for each in entry["inputs"] if last[each["input"]] == entry["shard"]]
        if entry["table"] is None or not current:
            continue
        tables.append(_table(target, entry, current, columns, video))
    if not tables:
        raise StorageError(f"{target.place}: no shard of this job has rows")
    # Shards of an older version may lack a column
    return pa.concat_tables(tables, promote_options="default")


def manifest(output: str | os.PathLike[str]) -> pa.Table:
    """The manifest of a job: a row for each input, with its shard.

    Args:
        output: The output of `detect_images` or `track_videos`.

    Returns:
        Columns ``input``, ``url``, ``bytes``, ``modified``, ``rows``, ``problem``, ``notes``, those of videos, and of
        the shard: ``shard``, ``number``, ``table``, ``seconds``, ``node``, ``finished``, ``settings``, ``model``.

    Raises:
        StorageError: There is no job.
    """
    target = JobOutput(os.fspath(output))
    model = target.job()["model"]
    rows = []
    for entry in target.entries():
        shard = {name: value for name, value in entry.items() if name not in {"inputs", "rows"}}
        rows += [{**each, **shard, "model": model} for each in entry["inputs"]]
    # Inputs that could not be read lack the numbers of the others
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


def _when(entry: dict[str, Any]) -> Any:
    return entry["finished"]


def _table(
    target: JobOutput,
    entry: dict[str, Any],
    current: list[dict[str, Any]],
    columns: Sequence[str] | None,
    video: bool,
) -> pa.Table:
    """The rows of those inputs of a shard that it holds the last rows of."""
    names = pa.array([each["table_name"] for each in current])
    partial = len(current) < len(entry["inputs"]) and not video
    asked = None if columns is None else [*dict.fromkeys([*columns, *(["image"] if partial else [])])]
    with target.files.open(target.path(entry["table"]), "rb") as file:
        table = parquet.ParquetFile(file).read(None if asked is None else [name for name in asked if name != "video"])
    if video and (columns is None or "video" in columns):
        table = table.add_column(0, "video", pa.array([current[0]["table_name"]] * len(table), pa.string()))
    if partial:
        table = table.filter(pc.is_in(table["image"], names))
    return table if columns is None else table.select(list(columns))
