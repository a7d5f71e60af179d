"""``python -m benchmarks.long_video``: memory of ``clnf-torch track`` while a short clip runs to and fro for long."""

import os
import subprocess
import sys
import tempfile
import time
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.material import SHARED, clnf_bundle
from clnf_torch.cli.videos.video_writer import video_file
from clnf_torch.media.video import VideoFile

CLIP = SHARED / "videos" / "0686_02_003_gloria_estefan.avi"  # 320 x 238, one face, 125 frames


def main(
    clip: Annotated[Path, typer.Argument(help="A short video")] = CLIP,
    frames: Annotated[int, typer.Option(help="Frames of the long one")] = 20_000,
    every: Annotated[int, typer.Option(help="Frames from one measurement to the next")] = 1000,
    parquet: Annotated[bool, typer.Option(help="Write Parquet beside CSV and JSON")] = False,
) -> None:
    """Print the memory of the real command, on one thread, as frames go by: anonymous, and with the mapped files."""
    with tempfile.TemporaryDirectory() as folder:
        video, table = Path(folder) / "long.mp4", Path(folder) / "table.csv"
        write_long(clip, video, frames)
        words = ["track", video, "--model", clnf_bundle(), "--csv", table, "--json", table.with_suffix(".json")]
        words += ["--parquet", table.with_suffix(".parquet")] if parquet else []
        command = [sys.executable, "-m", "clnf_torch", *map(str, words)]
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
        found: list[float] = []
        while process.poll() is None:
            time.sleep(1)
            done = frames_in(Path(folder))
            if done >= every * (len(found) + 1):
                anonymous, resident = (memory(process.pid, kind) for kind in ("RssAnon", "VmRSS"))
                print(f"{done:7} frames {anonymous:7.1f} MiB, {resident:7.1f} MiB with mapped files", flush=True)
                found.append(anonymous)
    if found:
        print(f"from the first measurement to the largest: {max(found) - found[0]:+.1f} MiB; exit {process.returncode}")


def write_long(clip: Path, target: Path, frames: int) -> None:
    """Writes a video of so many frames that shows a clip forwards and backwards, again and again."""
    source = VideoFile(clip)
    images = [frame.image.flip(0).permute(1, 2, 0).numpy() for frame in source if frame.image is not None]
    with video_file(target, source.rate) as long:
        for image in islice(cycle(chain(images, images[::-1])), frames):
            long.append(np.ascontiguousarray(image))


def frames_in(folder: Path) -> int:
    """The frame of the last whole line of the growing CSV file, 0 where there is none yet."""
    for table in folder.glob("*.csv.partial"):
        with table.open("rb") as file:
            file.seek(max(table.stat().st_size - 50_000, 0))
            lines = file.read().splitlines()
        return int(lines[-2].split(b",")[0]) if len(lines) > 2 else 0
    return 0


def memory(process: int, kind: str) -> float:
    """MiB of memory of a process (Linux): ``RssAnon`` is its own, ``VmRSS`` counts the pages of mapped files too."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(f"{kind}:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    typer.run(main)
