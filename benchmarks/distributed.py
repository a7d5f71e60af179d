"""``python -m benchmarks.distributed``: a Ray cluster against one process, in speed, memory and every digit."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import pyarrow as pa
import typer
from pyarrow import parquet

from clnf_torch.cli.videos.video_writer import video_file
from clnf_torch.distributed import Actors, DetectSettings, TrackSettings, detect_images, manifest, read, track_videos
from clnf_torch.distributed.inputs import image_inputs, video_inputs
from clnf_torch.distributed.videos import TrackFaces, VideoTask
from clnf_torch.media.video import open_video
from clnf_torch.media.video_frames import FOLDER_RATE

ROOT = Path(__file__).resolve().parent.parent
# A face in the public domain, and where it is in a video of this width
FACE, WIDTH = ROOT / "docs" / "images" / "astronaut.jpg", 320
# Of the object store of each node
STORE = 200 * 2**20
# Clips before the clock starts: the model is loaded, and readers and actors run
WARM = 2

app = typer.Typer(add_completion=False, no_args_is_help=True)


def _still() -> np.ndarray:
    """The face in the size of a video, BGR."""
    still = cv2.imread(str(FACE))
    return cv2.resize(still, (WIDTH, WIDTH * still.shape[0] // still.shape[1] // 2 * 2))


def write_clip(path: Path, frames: int, shift: int = 0) -> Path:
    """A video of a face that moves to and fro."""
    still = _still()
    with video_file(path, FOLDER_RATE) as video:
        for number in range(frames):
            video.append(np.roll(still, round(12 * np.sin((number + shift) / 15)), axis=1))
    return path


def start_ray(cpus: int) -> Any:
    """Ray with so many logical CPUs, whose workers have the priority of the one process that they are compared with."""
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    quiet = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
    ray.init(num_cpus=cpus, object_store_memory=STORE, **quiet)
    return ray


def one_process(clips: Path, folder: Path) -> float:
    """Seconds that one process on one thread takes for a clip, after some that do not count."""
    faces = TrackFaces(None, TrackSettings(batch=1), threads=1)
    finished: list[float] = []
    for clip in sorted(clips.iterdir()):
        table = folder / f"{clip.stem}.parquet"
        faces([VideoTask(open_video(clip), table, lambda record: finished.append(time.time()))])
    return _seconds(finished, 1)


def on_cluster(clips: Path, output: Path, actors: int) -> float:
    """Seconds for a clip by so many actors of one thread each."""
    settings = TrackSettings(batch=1)
    track_videos(str(clips), output, settings=settings, actors=Actors(concurrency=actors))
    return _seconds(sorted(entry["finished"] for entry in manifest(output).to_pylist()), actors)


def _seconds(finished: list[float], actors: int) -> float:
    """Seconds from one finished clip to the next, without the first ones of each actor."""
    counted = finished[WARM * actors - 1 :]
    return (counted[-1] - counted[0]) / (len(counted) - 1)


@app.command()
def speed(
    clips: Annotated[int, typer.Option(help="Videos of each run")] = 16,
    frames: Annotated[int, typer.Option(help="Frames of each")] = 100,
    repeats: Annotated[int, typer.Option(help="Runs, of which the fastest counts")] = 3,
) -> None:
    """One process, one actor and two actors, one thread each, on whole clips."""
    ray = start_ray(3)
    taken: dict[str, list[float]] = {"one process": [], "one actor": [], "two actors": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "clips").mkdir()
        for number in range(clips):
            write_clip(folder / "clips" / f"{number:03}.mp4", frames, 7 * number)
        for run in range(repeats):
            (alone := folder / f"alone{run}").mkdir()
            taken["one process"].append(one_process(folder / "clips", alone))
            taken["one actor"].append(on_cluster(folder / "clips", folder / f"one{run}", 1))
            taken["two actors"].append(on_cluster(folder / "clips", folder / f"two{run}", 2))
            print(json.dumps({name: round(values[-1], 3) for name, values in taken.items()}), flush=True)
    ray.shutdown()
    best = {name: min(values) for name, values in taken.items()}
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"frames a second: {', '.join(f'{name} {frames / value:.1f}' for name, value in best.items())}")
    print(f"one actor takes {best['one actor'] / best['one process'] - 1:+.1%} against one process (at most +15 %)")
    print(f"two actors are {best['one actor'] / best['two actors']:.2f} times as fast as one (at least 1.7)")


@app.command()
def memory(
    frames: Annotated[int, typer.Option(help="Frames of the video")] = 20_000,
    every: Annotated[float, typer.Option(help="Seconds from one measurement to the next")] = 10.0,
) -> None:
    """Resident memory of the driver and the workers, and what the object store holds, while a long video runs."""
    ray = start_ray(2)
    done = threading.Event()
    with tempfile.TemporaryDirectory() as place:
        (folder := Path(place) / "clips").mkdir()
        write_clip(folder / "long.mp4", frames)

        def watch() -> None:
            while not done.wait(every):
                print(json.dumps({"driver": _resident(os.getpid()), **_workers()}), flush=True)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            given = {"settings": TrackSettings(batch=1), "actors": Actors(concurrency=1)}
            track_videos(str(folder), Path(place) / "out", **given)
        finally:
            done.set()
            watcher.join()
    ray.shutdown()


def _workers() -> dict[str, float]:
    """MiB of the processes of Ray that compute or decode, and of what the object store holds."""
    import ray

    there, free = (each.get("object_store_memory", 0) for each in (ray.cluster_resources(), ray.available_resources()))
    found = {"object store": round((there - free) / 2**20, 1)}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_text()
            except OSError:
                continue
            for name in ("TrackShards", "decode_frames"):
                if words.startswith("ray::") and name in words:
                    found[name] = _resident(int(entry.name))
    return found


def _resident(process: int) -> float:
    """MiB of memory of a process that it does not share: Ray's object store is shared."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()
    except OSError:
        return 0.0
    return round((int(pages[1]) - int(pages[2])) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


class Kills:
    """Kills a worker, or a whole node in whose place another comes, at every tenth of a job.

    Args:
        cluster: The cluster.
        count: How many.
        seed: Which worker and which node.
    """

    def __init__(self, cluster: Any, count: int, seed: int = 0) -> None:
        self.cluster, self.count, self.done, self.chance = cluster, count, 0, random.Random(seed)

    def __call__(self, finished: int, total: int) -> None:
        """Is told of finished inputs."""
        from tests.distributed.clusters import add_node, workers_of

        if self.done < self.count and finished > (self.done + 1) * total / (self.count + 1):
            self.done += 1
            others = [node for node in self.cluster.list_all_nodes() if node is not self.cluster.head_node]
            workers = workers_of(self.cluster, "Shards")
            if self.done % 3 == 0 and others:
                add_node(self.cluster)
                self.cluster.remove_node(self.chance.choice(others), allow_graceful=False)
            elif workers:
                os.kill(self.chance.choice(workers), signal.SIGKILL)
            print(f"{finished} of {total}: kill {self.done}", flush=True)


@app.command()
def proof(
    pictures: Annotated[int, typer.Option(help="Images")] = 2000,
    clips: Annotated[int, typer.Option(help="Videos")] = 40,
    kills: Annotated[int, typer.Option(help="Workers and nodes killed, half of them at images")] = 10,
) -> None:
    """Every row of one process, from two nodes where workers and nodes die; exits with 1 where one differs."""
    from tests.distributed.clusters import start_cluster, stop_cluster
    from tests.distributed.pictures import write_pictures

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cv2.imwrite(str(folder / "still.png"), _still())
        images = write_pictures(folder / "still.png", folder / "images", pictures)
        (videos := folder / "videos").mkdir()
        for number in range(clips):
            write_clip(videos / f"{number:03}.mp4", 20 + number % 7, 7 * number)
        (videos / "broken.mp4").write_bytes(b"no video")
        expected_images, expected_videos = _expected(images, videos, folder)
        cluster = start_cluster()
        try:
            kill = Kills(cluster, kills // 2)
            detect_images(str(images), folder / "faces", settings=DetectSettings(), progress=kill, shard_images=16)
            same = _compared("images", read(folder / "faces"), expected_images)
            kill = Kills(cluster, kills - kills // 2)
            track_videos(str(videos), folder / "tracks", settings=TrackSettings(save_every=1), progress=kill)
            same &= _compared("videos", read(folder / "tracks"), expected_videos)
        finally:
            stop_cluster(cluster)
    raise typer.Exit(0 if same else 1)


def _expected(images: Path, videos: Path, folder: Path) -> tuple[pa.Table, pa.Table]:
    """What one process finds in the images and videos."""
    program = [sys.executable, "-m", "clnf_torch"]
    names = [each.name for each in image_inputs(str(images))]
    subprocess.run([*program, "detect", *names, "--parquet", str(folder / "faces.parquet")], check=False)
    clips = [each.name for each in video_inputs(str(videos)) if "broken" not in each.name]
    subprocess.run([*program, "track", *clips, "--parquet", str(folder / "expected")], check=True)
    tables = [parquet.read_table(folder / "expected" / f"{Path(clip).stem}.parquet") for clip in clips]
    named = [
        table.add_column(0, "video", pa.array([clip] * len(table))) for clip, table in zip(clips, tables, strict=True)
    ]
    return parquet.read_table(folder / "faces.parquet"), pa.concat_tables(named)


def _compared(what: str, found: pa.Table, expected: pa.Table) -> bool:
    """Whether all rows are there, once, to the last digit; says so."""
    same: bool = found.equals(expected)
    print(f"{what}: {len(found)} rows, {len(expected)} of one process, {'equal' if same else 'NOT EQUAL'}", flush=True)
    return same


if __name__ == "__main__":
    app()
