"""A job: shards go through a Ray Data pipeline round after round, until each of them is in the manifest."""

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from clnf_torch.distributed.cluster import Actors, JobError, connect
from clnf_torch.distributed.inputs import InputFile
from clnf_torch.distributed.model import ModelFile
from clnf_torch.distributed.output import InputReport, JobOutput
from clnf_torch.distributed.settings import JobSettings
from clnf_torch.distributed.shards import Shard, digest, in_shards, unfinished
from clnf_torch.files.names import one_line

# Rounds without any progress after which a job gives up
ROUNDS = 3
# What Ray raises where the process of a task died at its work, again and again
READER_DIED = {"WorkerCrashedError", "OutOfMemoryError"}
# Bytes of a block that Ray would cut: a shard is one block, however large
UNCUT = 2**40
# Blocks that wait for an actor: the next one is there when it is done
WAITING = 2

Progress = Callable[[int, int], None]
"""Told how many inputs are finished, and how many there are."""


def silent(finished: int, total: int) -> None:
    """Nothing is said of the progress."""


@dataclass(frozen=True)
class JobReport:
    """What a job did.

    Attributes:
        inputs: How many there are.
        skipped: Those that an earlier run finished.
        rows: Rows of all inputs that this run computed.
        problems: Lines about inputs that could not be used, or not wholly; of earlier runs too.
    """

    inputs: int
    skipped: int
    rows: int
    problems: list[str]


def run_job(
    kind: str,
    work: Callable[[str, ModelFile, Any], "Work"],
    inputs: Iterable[InputFile],
    output: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None,
    settings: JobSettings,
    actors: Actors,
    shard_inputs: int,
    address: str | None,
    progress: Progress,
) -> JobReport:
    """Computes what an earlier run of the same job has not finished.

    Args:
        kind: Of the job, as its output names it.
        work: Makes the work of the output's place, the weights and the settings.
        inputs: All of the job.
        output: A folder that all machines see, or a URL.
        model: The bundle; None: the one that is installed.
        settings: What decides the rows.
        actors: Who computes.
        shard_inputs: Inputs whose rows share a file, at most.
        address: The cluster, see `connect`.
        progress: Told how many inputs are finished, and how many there are.

    Raises:
        StorageError: The output cannot be opened, or holds another job.
        JobError: The cluster has no room, or shards are left unfinished.
    """
    weights = ModelFile.of(model)
    job = {"kind": kind, "model": weights.sha256, "settings": settings.decisive(), "device": actors.device}
    target = JobOutput(os.fspath(output))
    target.begin(job)
    shards = in_shards(inputs, digest(job), shard_inputs)
    return Job(work(target.place, weights, settings), target, actors, progress).run(shards, address)


class Work(Protocol):
    """What is done with shards."""

    def pipeline(self, ray: Any, shards: Sequence[Shard], actors: Actors, size: tuple[int, int], alone: bool) -> Any:
        """The Ray Dataset whose rows are from `outcome`, one for each shard that was computed.

        With `alone` no two shards are in the hands of an actor at once.
        """
        ...

    def saved(self, shards: Sequence[Shard]) -> dict[str, int]:
        """How much of unfinished shards is saved, by name: more than before where an actor has come further."""
        ...


@dataclass
class Job:
    """Shards on their way.

    Attributes:
        work: What is done.
        output: Where.
        actors: By whom.
        progress: Told how it goes.
    """

    work: Work
    output: JobOutput
    actors: Actors
    progress: Progress = silent
    rows: int = 0
    finished: int = 0
    total: int = 0
    errors: dict[str, str] = field(default_factory=dict)  # the last one of each shard

    def run(self, shards: Sequence[Shard], address: str | None = None) -> JobReport:
        """Computes what is not finished.

        Args:
            shards: All of the job.
            address: See `connect`.

        Raises:
            JobError: Some are not finished; the same job again goes on with them.
        """
        finished = self.output.finished()
        left = unfinished(shards, finished)
        self.total = _count(shards)
        skipped = self.total - _count(left)
        self._finished(skipped)
        if left:
            ray = connect(address)
            # Refused before anything begins; a machine that is lost later is no reason to end
            self.actors.in_cluster(*_resources(ray), len(left))
            self._rounds(left, ray)
        return JobReport(self.total, skipped, self.rows, self._problems())

    def _finished(self, count: int) -> None:
        """Counts finished inputs."""
        self.finished += count
        self.progress(self.finished, self.total)

    def _rounds(self, left: list[Shard], ray: Any) -> None:
        """Rounds until nothing is left. Those whose worker died are tried again, at last each input alone."""
        idle, saved = 0, self.work.saved(left)
        while left:
            complete = self._round(left, ray, alone=idle > 0)
            before, left = left, unfinished(left, self.output.finished())
            known, saved = saved, self.work.saved(left)
            # A video longer than its workers live is never finished in one round
            further = any(saved[name] > known.get(name, 0) for name in saved)
            idle = 0 if _count(left) < _count(before) or further else idle + 1
            if idle >= ROUNDS:
                left = self._given_up(left, complete)
            elif idle:
                left = [one for shard in left for one in shard.single()]

    def _round(self, left: Sequence[Shard], ray: Any, alone: bool) -> bool:
        """One pass over what is left. Whether Ray came to its end."""
        self.errors = {}
        cpus, gpus = _resources(ray)
        size = self.actors.within(cpus, gpus).in_cluster(cpus, gpus, len(left))
        try:
            with _settings(ray):
                for row in self.work.pipeline(ray, left, self.actors, size, alone).iter_rows():
                    self._take(row)
        except ray.exceptions.RayError as error:
            self.errors[""] = one_line(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
            return False
        return True

    def _take(self, row: dict[str, Any]) -> None:
        """What became of a shard."""
        if row["died"]:
            # As where an actor died, which says nothing at all
            return
        if row["error"]:
            self.errors[row["shard"]] = row["error"]
            return
        self.rows += row["rows"]
        self._finished(row["inputs"])

    def _given_up(self, left: list[Shard], complete: bool) -> list[Shard]:
        """Enters inputs at which their workers died again and again.

        Raises:
            JobError: It was something else.
        """
        if self.errors or not complete or any(len(shard.inputs) > 1 for shard in left):
            reason = next(iter(self.errors.values()), "their workers died")
            files = f"{_count(left)} input{'s are' if _count(left) > 1 else ' is'} not finished"
            raise JobError(f"{files}: {reason}; the same job again goes on with them")
        for shard in left:
            problem = f"{shard.inputs[0].name}: the worker died {ROUNDS} times at it"
            self.output.commit(shard, None, [InputReport(problem=problem)], 0.0)
            self._finished(1)
        return []

    def _problems(self) -> list[str]:
        """Lines about inputs, in their order."""
        inputs = [each for entry in self.output.entries() for each in entry["inputs"]]
        return [each["problem"] for each in inputs if each["problem"]]


def _resources(ray: Any) -> tuple[float, float]:
    """CPUs and cards of the cluster."""
    cluster = ray.cluster_resources()
    return cluster.get("CPU", 0), cluster.get("GPU", 0)


def _count(shards: Sequence[Shard]) -> int:
    return sum(len(shard.inputs) for shard in shards)


def outcome(shard: Shard, rows: int = 0, error: str | None = None, died: bool = False) -> dict[str, Any]:
    """What an actor says of a shard: it is in the manifest, or why not; or its reader died, as an actor may."""
    return {"shard": shard.name, "inputs": len(shard.inputs), "rows": rows, "error": error or "", "died": died}


def failed(shard: Shard, error: Exception) -> dict[str, Any]:
    """What an actor says of a shard that something kept from being finished."""
    if type(error).__name__ in READER_DIED:
        return outcome(shard, died=True)
    name = f"{shard.inputs[0].name}: " if len(shard.inputs) == 1 else ""
    return outcome(shard, error=one_line(f"{name}{type(error).__name__}: {error}"))


def blocks_of(ray: Any, texts: Sequence[str]) -> Any:
    """A dataset with one block for each text."""
    return ray.data.from_items([{"shards": text} for text in texts], override_num_blocks=len(texts))


def on_actors(blocks: Any, work: type, given: dict[str, Any], actors: Actors, size: tuple[int, int]) -> Any:
    """The dataset of what actors make of each block.

    Args:
        blocks: A dataset.
        work: A class whose instances are called with Arrow tables.
        given: What it is made with, beside the device and the threads.
        actors: What each has.
        size: Fewest and most.
    """
    with quiet_arguments():
        return blocks.map_batches(
            work,
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            fn_constructor_kwargs={**given, "device": actors.device, "threads": actors.threads},
            concurrency=size,
            **actors.remote_args(),
        )


@contextlib.contextmanager
def quiet_arguments() -> Iterator[None]:
    """Lets Ray Data take how often a process begins anew, which has no other name up to Ray 2.63, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        yield


@contextlib.contextmanager
def _settings(ray: Any) -> Iterator[None]:
    """Ray Data as a job needs it: quiet, a shard never cut, and a lost one no reason to end."""
    context = ray.data.DataContext.get_current()
    changed = {
        "target_max_block_size": UNCUT,
        "max_errored_blocks": -1,
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        "max_tasks_in_flight_per_actor": WAITING,
    }
    before = {name: getattr(context, name) for name in changed}
    loggers = [logging.getLogger(name) for name in ("ray.data", "ray.data._internal")]
    levels = [logger.level for logger in loggers]
    try:
        for name, value in changed.items():
            setattr(context, name, value)
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
