"""`detect_images`: the faces of any number of images, on a Ray cluster."""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from clnf_torch.distributed.cluster import READERS_SHARE, Actors
from clnf_torch.distributed.images import DetectFaces, DetectSettings, decode_images
from clnf_torch.distributed.inputs import image_inputs
from clnf_torch.distributed.job import (
    JobReport,
    Progress,
    blocks_of,
    failed,
    on_actors,
    outcome,
    quiet_arguments,
    run_job,
    silent,
)
from clnf_torch.distributed.model import ModelFile
from clnf_torch.distributed.output import InputReport, JobOutput
from clnf_torch.distributed.shards import MOST_IMAGES, Shard
from clnf_torch.files.names import escaped_name

# Of a reader: half of what each actor leaves, so that two of them share a crowded node
READER_CPUS = READERS_SHARE / 2
# Times that a reader that died begins anew, before its shard waits for the next round
READER_RETRIES = 1


def detect_images(
    images: Any,
    output: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    settings: DetectSettings | None = None,
    actors: Actors | None = None,
    shard_images: int = MOST_IMAGES,
    address: str | None = None,
    progress: Progress = silent,
) -> JobReport:
    """Finds the faces of images, their landmarks, head pose and gaze: the rows of ``clnf-torch detect --parquet``.

    Run again, it goes on: what the manifest of the output says to be finished is not computed again.

    Args:
        images: Files, folders, globs, lists (``.txt``): paths that all machines see, or URLs; or a Ray Dataset with a
            column ``path``.
        output: A folder that all machines see, or a URL.
        model: The bundle; None: the one that is installed.
        settings: How faces are found and measured.
        actors: Who computes.
        shard_images: Images whose rows share a file, at most.
        address: The cluster, see `connect`.
        progress: Told how many images are finished, and how many there are.

    Raises:
        StorageError: An input or the output cannot be opened, or the output holds another job.
        JobError: The cluster has no room, or shards are left unfinished.
    """
    return run_job(
        "detect",
        _Detection,
        image_inputs(images),
        output,
        model=model,
        settings=settings or DetectSettings(),
        actors=actors or Actors(),
        shard_inputs=shard_images,
        address=address,
        progress=progress,
    )


class _Detection:
    """Images that are decoded in tasks and go to the actors that fit."""

    def __init__(self, output: str, weights: ModelFile, settings: DetectSettings) -> None:
        self.output, self.weights, self.settings = output, weights, settings

    def saved(self, shards: Sequence[Shard]) -> dict[str, int]:
        """Nothing of a shard is saved before all of it is."""
        return {}

    def pipeline(self, ray: Any, shards: Sequence[Shard], actors: Actors, size: tuple[int, int], alone: bool) -> Any:
        """Blocks of decoded images, and what became of each; an actor has one shard in hand in any case."""
        given = {"output": self.output, "weights": self.weights.shared(ray), "settings": self.settings}
        readers = max(1, int(ray.cluster_resources().get("CPU", 1) - size[1] * actors.num_cpus))
        blocks = blocks_of(ray, [shard.to_json() for shard in shards])
        with quiet_arguments():
            decoded = blocks.map_batches(
                decode_shard,
                batch_size=None,
                batch_format="pyarrow",
                concurrency=readers,
                num_cpus=READER_CPUS,
                # Ray Data begins for ever anew otherwise where an image kills its reader
                max_retries=READER_RETRIES,
            )
        return on_actors(decoded, DetectShards, given, actors, size)


def decode_shard(block: pa.Table) -> pa.Table:
    """Decodes the images of a shard, in a task.

    Args:
        block: The shard as text, in its one row.

    Returns:
        Its images, with the shard's text in every row.
    """
    (text,) = block["shards"].to_pylist()
    pictures = decode_images(Shard.from_json(text).inputs)
    return pictures.append_column("shards", pa.array([text] + [None] * (len(pictures) - 1), pa.string()))


class DetectShards:
    """Fits the faces of shards and writes them, in an actor that loads the model once."""

    def __init__(
        self, output: str, weights: Any, settings: DetectSettings, device: str = "cpu", threads: int | None = None
    ) -> None:
        self.output = JobOutput(output)
        with ModelFile.opened(weights) as model:
            self.faces = DetectFaces(model, settings, device, threads)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Computes a block from `decode_shard`."""
        shard = Shard.from_json(block["shards"][0].as_py())
        try:
            rows = self._computed(shard, block)
        except Exception as error:
            found = failed(shard, error)
        else:
            found = outcome(shard, rows)
        return pa.Table.from_pylist([found])

    def _computed(self, shard: Shard, pictures: pa.Table) -> int:
        """Fits, writes and enters a shard; its number of rows."""
        begun = time.monotonic()
        table, problems = self.faces(pictures)
        rows = Counter(table["image"].to_pylist() if table is not None else [])
        reports = [
            InputReport(rows[escaped_name(picture["image"])], problem, tuple(picture["notes"]))
            for picture, problem in zip(pictures.select(["image", "notes"]).to_pylist(), problems, strict=True)
        ]
        with tempfile.TemporaryDirectory(prefix="clnf-torch-") as folder:
            file = Path(folder) / "rows.parquet" if table is not None else None
            if file is not None:
                parquet.write_table(table, file)
            self.output.commit(shard, file, reports, time.monotonic() - begun)
        return sum(rows.values())
