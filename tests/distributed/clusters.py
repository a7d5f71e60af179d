"""A Ray cluster of several nodes on this machine, and its workers, which are killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

# Two nodes of two logical CPUs, as the smallest clusters are
CPUS = 2
# Bytes of each node's object store
STORE = 100 * 2**20
# How soon a node that does not answer counts as lost, milliseconds and answers: three times as soon as Ray has it
CHECKS = {"health_check_period_ms": 1000, "health_check_timeout_ms": 5000, "health_check_failure_threshold": 5}


def start_cluster(nodes: int = 2) -> Any:
    """A cluster of so many nodes, to which this process is connected."""
    # Ray's workers give way to all other processes unless this is set
    os.environ.setdefault("RAY_worker_niceness", "0")
    from ray.cluster_utils import Cluster

    from clnf_torch.distributed.cluster import connect

    cluster = Cluster()
    add_node(cluster, _system_config=CHECKS)
    for _ in range(nodes - 1):
        add_node(cluster)
    connect(cluster.address)
    return cluster


def add_node(cluster: Any, **more: Any) -> Any:
    """Another node."""
    return cluster.add_node(num_cpus=CPUS, object_store_memory=STORE, include_dashboard=False, **more)


def stop_cluster(cluster: Any) -> None:
    """Ends all of its processes."""
    import ray

    ray.shutdown()
    cluster.shutdown()


def workers_of(cluster: Any, name: str) -> list[int]:
    """The processes of a cluster that run actors or tasks of a name."""
    raylets = {process.process.pid for node in cluster.list_all_nodes() for process in node.all_processes["raylet"]}
    return [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _is_worker(pid, name, raylets)]


def _is_worker(pid: int, name: str, raylets: set[int]) -> bool:
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return parent in raylets and name in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        # It has just ended
        return False


class KillAt:
    """Kills a worker when the first inputs are finished, once.

    Args:
        cluster: The cluster.
        name: Of the worker's class or function.
    """

    def __init__(self, cluster: Any, name: str) -> None:
        self.cluster, self.name, self.killed = cluster, name, 0

    def __call__(self, finished: int, total: int) -> None:
        """Is told of finished inputs."""
        if finished and not self.killed:
            self.killed = workers_of(self.cluster, self.name)[0]
            os.kill(self.killed, signal.SIGKILL)
