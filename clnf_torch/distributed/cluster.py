"""The Ray cluster: how many actors there are, what each of them has, and whether readers have room beside them."""

import os
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

# What each actor's share of the CPUs leaves to the readers of its node. However few CPUs are left when a node goes, the
# readers find room then, and Ray does not wait for ever.
READERS_SHARE = 0.1


class JobError(RuntimeError):
    """A job that cannot begin, or did not finish; its text is one line."""


@dataclass(frozen=True, kw_only=True)
class Actors:
    """The actors that compute.

    Attributes:
        num_cpus: CPUs of each; as many threads compute.
        num_gpus: Cards of each, such as 1, or 0.5 where two share one; 0: it computes on the processor.
        concurrency: How many there are, or (fewest, most), between which Ray chooses by the work that waits; None: as
            many as the cluster has room for.
    """

    num_cpus: float = 1
    num_gpus: float = 0
    concurrency: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuses what no actor has."""
        fewest, most = self.range() or (1, 1)
        if self.num_cpus < 0.5 or self.num_gpus < 0 or not 1 <= fewest <= most:
            found = f"num_cpus {self.num_cpus}, num_gpus {self.num_gpus}, concurrency {self.concurrency}"
            raise ValueError(f"{found}: give at least 0.5 CPUs, no or some cards, and 1 actor or more")

    def range(self) -> tuple[int, int] | None:
        """Fewest and most."""
        return (self.concurrency,) * 2 if isinstance(self.concurrency, int) else self.concurrency

    @property
    def device(self) -> str:
        """Where they compute."""
        return "cuda" if self.num_gpus else "cpu"

    @property
    def threads(self) -> int:
        """Threads of the processor of each."""
        return max(1, int(self.num_cpus))

    def remote_args(self) -> dict[str, Any]:
        """What Ray is told of each: a task that was lost with its actor is left to the next round of the job."""
        share = {"num_cpus": self.num_cpus - READERS_SHARE, "max_restarts": -1, "max_task_retries": 0}
        return {**share, "num_gpus": self.num_gpus} if self.num_gpus else share

    def in_cluster(self, cpus: float, gpus: float, work: int) -> tuple[int, int]:
        """Fewest and most actors for so much work.

        Args:
            cpus: Of the cluster.
            gpus: Of the cluster.
            work: Shards that wait.

        Raises:
            JobError: They leave no CPU for reading, or there are not as many cards.
        """
        room, cards = self._room(cpus, gpus)
        fewest, most = self.range() or (1, max(1, min(room, cards)))
        if fewest > room:
            raise JobError(
                f"{fewest} actors of {self.num_cpus:g} CPUs each leave none of the cluster's {cpus:g} for reading; "
                f"give concurrency {room}" if room else
                f"the cluster has {cpus:g} CPUs; an actor of {self.num_cpus:g} and a reader need {self.num_cpus + 1:g}"
            )  # fmt: skip
        if fewest > cards:
            raise JobError(f"{fewest} actors of {self.num_gpus:g} cards each; the cluster has {gpus:g} cards")
        if isinstance(self.concurrency, int):
            return min(fewest, work), min(most, work)
        return min(fewest, work), max(1, min(most, room, work))

    def within(self, cpus: float, gpus: float) -> "Actors":
        """As many of them as a cluster that has lost machines still has room for: one at least."""
        counts = self.range()
        if counts is None:
            return self
        most = max(1, min(self._room(cpus, gpus)))
        return replace(self, concurrency=(min(counts[0], most), min(counts[1], most)))

    def _room(self, cpus: float, gpus: float) -> tuple[int, int]:
        """How many the CPUs have room for beside a reader, and how many the cards."""
        room = int((cpus - 1) // self.num_cpus)
        return room, int(gpus // self.num_gpus) if self.num_gpus else room


def ray_module() -> ModuleType:
    """Ray, with its data library.

    Raises:
        JobError: It is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        found = f": {error}" if "ray" not in str(error) else ""
        raise JobError(f"Ray is not installed{found}; install it with: pip install 'clnf-torch[ray]'") from None
    return ray


def connect(address: str | None = None) -> ModuleType:
    """Ray, connected to a cluster; a connection that there is stays.

    Args:
        address: Of the cluster's head, "auto" for one that runs here, "local" for a new one of this machine; None: what
            ``RAY_ADDRESS`` says, or else as "local".

    Raises:
        JobError: Ray is not installed, or there is no cluster.
    """
    # Errors of its own processes that Ray deals with
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = ray_module()
    if not ray.is_initialized():
        try:
            ray.init(address=address, logging_level="ERROR", log_to_driver=False, include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise JobError(f"no Ray cluster at {address}: {reason[:150]}; see docs/guide/cluster.md") from None
    return ray
