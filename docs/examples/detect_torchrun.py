"""The faces of images without Ray: torchrun starts a process for each card, and each takes its share of the shards.

torchrun --nproc-per-node 2 detect_torchrun.py IMAGES FOLDER
"""

import os
import sys
from pathlib import Path

import pyarrow as pa
import torch
from pyarrow import parquet
from torch.utils.data import DataLoader, Dataset

from clnf_torch.distributed.images import DetectFaces, decode_images
from clnf_torch.distributed.inputs import image_inputs
from clnf_torch.distributed.shards import MOST_IMAGES, Shard, in_shards


class DecodedShards(Dataset[tuple[str, pa.Table]]):
    """Shards with their images decoded, in the workers of a DataLoader."""

    def __init__(self, shards: list[Shard]) -> None:
        self.shards = shards

    def __len__(self) -> int:
        """Number of shards."""
        return len(self.shards)

    def __getitem__(self, number: int) -> tuple[str, pa.Table]:
        """A shard's name and its images."""
        return self.shards[number].name, decode_images(self.shards[number].inputs)


def main(images: str, folder: str) -> None:
    """Writes a Parquet file for each shard of this process that is not there yet."""
    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    cuda = torch.cuda.is_available()
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    mine = in_shards(image_inputs(images), "detect", MOST_IMAGES)[rank::processes]
    mine = [shard for shard in mine if not (target / f"{shard.name}.parquet").exists()]
    faces = DetectFaces(device=f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu", threads=1)
    loader = DataLoader(DecodedShards(mine), batch_size=None, num_workers=1, multiprocessing_context="spawn")
    for name, pictures in loader:
        table, problems = faces(pictures)
        for problem in filter(None, problems):
            print(problem, file=sys.stderr)
        if table is not None:
            parquet.write_table(table, target / f".{name}.part")
            os.replace(target / f".{name}.part", target / f"{name}.parquet")


if __name__ == "__main__":
    main(*sys.argv[1:])
