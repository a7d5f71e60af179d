"""`track_videos`: the faces of any number of videos, each with its identity, on a Ray cluster."""

import io
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pyarrow import parquet

from clnf_torch.distributed.cluster import READERS_SHARE, Actors
from clnf_torch.distributed.frame_stream import remote_frames
from clnf_torch.distributed.inputs import video_inputs
from clnf_torch.distributed.job import JobReport, Progress, blocks_of, failed, on_actors, outcome, run_job, silent
from clnf_torch.distributed.model import ModelFile
from clnf_torch.distributed.output import UNFINISHED, InputReport, JobOutput
from clnf_torch.distributed.shards import Shard
from clnf_torch.distributed.videos import TrackFaces, TrackSettings, VideoTask
from clnf_torch.files.archive_reader import ArchiveError, read_archive
from clnf_torch.files.writing import partial_of
from clnf_torch.media.boxes import BoxError, check_box
from clnf_torch.media.recording import Recording
from clnf_torch.media.video_frames import VideoError
from clnf_torch.tracking import TrackState
from clnf_torch.tracking.saved_state import StateError

# Names of an unfinished video's files
STATE = "state.pt"


def track_videos(
    videos: Any,
    output: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    settings: TrackSettings | None = None,
    actors: Actors | None = None,
    address: str | None = None,
    progress: Progress = silent,
) -> JobReport:
    """Tracks the faces of videos: the rows of ``clnf-torch track --parquet``, a file for each video.

    Run again, it goes on: what the manifest of the output says to be finished is not computed again, and a video whose
    worker died goes on from its last saved state.

    Args:
        videos: Files, folders, globs, lists (``.txt``): paths that all machines see, or URLs; or a Ray Dataset with a
            column ``path``.
        output: A folder that all machines see, or a URL.
        model: The bundle; None: the one that is installed.
        settings: How faces are tracked and measured.
        actors: Who computes.
        address: The cluster, see `connect`.
        progress: Told how many videos are finished, and how many there are.

    Raises:
        StorageError: An input or the output cannot be opened, or the output holds another job.
        JobError: The cluster has no room, or videos are left unfinished.
    """
    return run_job(
        "track",
        _Tracking,
        video_inputs(videos),
        output,
        model=model,
        settings=settings or TrackSettings(),
        actors=actors or Actors(),
        shard_inputs=1,
        address=address,
        progress=progress,
    )


class _Tracking:
    """Videos that go to actors in groups, large ones first, so that none is left alone with a long one at the end."""

    def __init__(self, output: str, weights: ModelFile, settings: TrackSettings) -> None:
        self.output, self.weights, self.settings = output, weights, settings

    def saved(self, shards: Sequence[Shard]) -> dict[str, int]:
        """Frames of unfinished videos behind which another worker goes on."""
        output = JobOutput(self.output)
        begun = set(output.names(UNFINISHED))
        states = {shard.name: saved_state(output, shard) for shard in shards if shard.name in begun}
        return {name: int(saved["state"]["frame"]) for name, saved in states.items() if saved is not None}

    def pipeline(self, ray: Any, shards: Sequence[Shard], actors: Actors, size: tuple[int, int], alone: bool) -> Any:
        """Groups of videos, and what became of each."""
        given = {"output": self.output, "weights": self.weights.shared(ray), "settings": self.settings}
        at_once = 1 if alone else max(1, min(self.settings.batch, len(shards) // size[1]))
        ordered = sorted(shards, key=lambda shard: shard.bytes, reverse=True)
        groups = [ordered[first : first + at_once] for first in range(0, len(ordered), at_once)]
        texts = ["\n".join(shard.to_json() for shard in group) for group in groups]
        return on_actors(blocks_of(ray, texts), TrackShards, given, actors, size)


class TrackShards:
    """Tracks groups of videos and writes their rows, in an actor that loads the model once."""

    def __init__(
        self, output: str, weights: Any, settings: TrackSettings, device: str = "cpu", threads: int | None = None
    ) -> None:
        self.output = JobOutput(output)
        with ModelFile.opened(weights) as model:
            self.faces = TrackFaces(model, settings, device, threads)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Computes the shards that are lines of the block's one text."""
        (text,) = block["shards"].to_pylist()
        shards = [Shard.from_json(line) for line in text.splitlines()]
        rows: dict[str, int] = {}
        failures: dict[str, Exception] = {}
        of_all = None
        try:
            self._computed(shards, rows, failures)
        except Exception as failure:
            of_all = failure
        found = []
        for shard in shards:
            reason = failures.get(shard.name) or (None if shard.name in rows else of_all)
            found.append(failed(shard, reason) if reason else outcome(shard, rows.get(shard.name, 0)))
        return pa.Table.from_pylist(found)

    def _computed(self, shards: Sequence[Shard], rows: dict[str, int], failures: dict[str, Exception]) -> None:
        """Tracks, writes and enters videos.

        Args:
            shards: The videos.
            rows: Takes how many each that is finished has.
            failures: Takes what kept one of them from being finished, while the others go on.
        """
        with tempfile.TemporaryDirectory(prefix="clnf-torch-") as folder:
            share, tasks = READERS_SHARE / self.faces.settings.batch, []
            for shard in shards:
                video = UnfinishedVideo(self.output, shard, Path(folder), rows, failures)
                try:
                    tasks.append(video.task(share, self.faces.settings))
                except Exception as failure:
                    failures[shard.name] = failure
            self.faces([task for task in tasks if task is not None])


class UnfinishedVideo:
    """A video on its way to the output.

    Args:
        output: Where its rows go.
        shard: The video.
        folder: Of this machine, for files until they are complete.
        rows: Takes how many there are when it is finished.
        failures: Takes what kept it from being read to its end or entered; others beside it go on.
    """

    def __init__(
        self, output: JobOutput, shard: Shard, folder: Path, rows: dict[str, int], failures: dict[str, Exception]
    ) -> None:
        self.output, self.shard, self.rows, self.failures = output, shard, rows, failures
        self.table = folder / f"{shard.name}.parquet"
        self.begun = self.saved_at = time.monotonic()
        # Another worker, given up for dead, may still write: each has its own parts
        self.run, self.parts = secrets.token_hex(4), 0
        self.is_saved = False

    def task(self, num_cpus: float, settings: TrackSettings) -> VideoTask | None:
        """What is to be tracked, None where the video cannot be read or has no such box, which is entered.

        Args:
            num_cpus: CPUs that its reader asks for.
            settings: With the box, and how often the state is saved.
        """
        try:
            self.source = remote_frames(self.shard.inputs[0], num_cpus)
            if settings.box is not None:
                check_box(settings.box, self.source.width, self.source.height)
        except VideoError as error:
            self._enter(None, InputReport(problem=str(error)))
            return None
        except BoxError as error:
            self._enter(None, InputReport(problem=f"{self.shard.inputs[0].name}: {error}"))
            return None
        self.save_every = settings.save_every
        return VideoTask(self.source, self.table, self._finish, self._save, self._restored())

    def _finish(self, record: Recording) -> None:
        """Enters the complete video, or what kept it from being complete."""
        try:
            if self.source.failure is not None:
                raise self.source.failure
            self._enter_rows(record)
        except Exception as error:
            self.failures[self.shard.name] = error

    def _enter_rows(self, record: Recording) -> None:
        """Enters the rows of a complete video."""
        entry = record.entry()
        table = self.table if self.table.exists() else None
        rows = 0 if table is None else _rows_in(table)
        self._enter(table, InputReport(rows, self.source.problem, tuple(self.source.notes), entry))
        if self.is_saved:
            self.output.remove(self._name())

    def _enter(self, table: Path | None, report: InputReport) -> None:
        self.output.commit(self.shard, table, [report], time.monotonic() - self.begun)
        self.rows[self.shard.name] = report.rows

    def _name(self, file: str = "") -> str:
        """A file of this unfinished video in the output, or the folder of all."""
        return f"{UNFINISHED}/{self.shard.name}{file and '/'}{file}"

    def _save(self, saved: dict[str, Any]) -> None:
        """Puts what goes on from here into the output, if it is time: first new rows, then the state."""
        if time.monotonic() - self.saved_at < self.save_every:
            return
        count = saved["sink"]["positions"]["--parquet"]
        for number in range(self.parts, count):
            part = f"{number:06}.parquet"
            self.output.publish(partial_of(self.table) / part, self._name(f"{self.run}/{part}"))
        self.parts, self.is_saved = count, True
        content = io.BytesIO()
        torch.save({**saved, "run": self.run}, content)
        self.output.publish_bytes(content.getvalue(), self._name(STATE))
        self.saved_at = time.monotonic()

    def _restored(self) -> dict[str, Any] | None:
        """What an earlier worker saved, with its rows on this machine; None: it begins anew."""
        self.is_saved = self.output.read(self._name(STATE)) is not None
        saved = saved_state(self.output, self.shard)
        if saved is None:
            return None
        folder = partial_of(self.table)
        folder.mkdir()
        try:
            for number in range(saved["sink"]["positions"]["--parquet"]):
                part = f"{number:06}.parquet"
                self.output.fetch(self._name(f"{saved['run']}/{part}"), folder / part)
        except FileNotFoundError:
            # Rows are missing, as where somebody tidied up
            shutil.rmtree(folder)
            return None
        return saved


def _rows_in(table: Path) -> int:
    """The number of rows of a Parquet file; pyarrow opens none whose name is not UTF-8."""
    with table.open("rb") as file:
        rows: int = parquet.read_metadata(file).num_rows
    return rows


def saved_state(output: JobOutput, shard: Shard) -> dict[str, Any] | None:
    """What a worker saved of an unfinished video; None where it is nothing that this version can go on from."""
    content = output.read(f"{UNFINISHED}/{shard.name}/{STATE}")
    if content is None:
        return None
    with tempfile.TemporaryDirectory(prefix="clnf-torch-") as folder:
        (file := Path(folder) / STATE).write_bytes(content)
        try:
            saved: dict[str, Any] = read_archive(file, mmap=False)
            TrackState.from_dict(saved["state"])
        except (ArchiveError, StateError, KeyError, TypeError):
            return None
    return saved
