"""Actors in a cluster: as many as leave room for reading, or a sentence that says how many would."""

from __future__ import annotations

import builtins

import pytest

from clnf_torch.distributed.cluster import Actors, JobError, ray_module


@pytest.mark.parametrize(
    ("actors", "cpus", "gpus", "size"),
    [
        (Actors(), 4, 0, (1, 3)),
        (Actors(concurrency=3), 4, 0, (3, 3)),
        (Actors(concurrency=(2, 90)), 4, 0, (2, 3)),
        (Actors(num_cpus=2), 8, 0, (1, 3)),
        (Actors(num_gpus=1), 64, 4, (1, 4)),
        (Actors(num_gpus=0.5), 64, 4, (1, 8)),
        (Actors(num_cpus=0.5), 1.5, 0, (1, 1)),
    ],
)
def test_actors_leave_a_cpu_for_reading(actors, cpus, gpus, size):
    assert actors.in_cluster(cpus, gpus, 1000) == size


def test_there_are_no_more_actors_than_shards():
    assert Actors(concurrency=3).in_cluster(4, 0, 2) == (2, 2)


@pytest.mark.parametrize(
    ("actors", "cpus", "gpus", "size"),
    [
        (Actors(concurrency=4), 4, 0, (3, 3)),
        (Actors(concurrency=(4, 9)), 6, 0, (4, 5)),
        (Actors(concurrency=2), 64, 0, (2, 2)),
        (Actors(num_gpus=1, concurrency=4), 64, 3, (3, 3)),
        (Actors(), 4, 0, (1, 3)),
    ],
)
def test_a_cluster_that_lost_a_machine_has_fewer_actors(actors, cpus, gpus, size):
    assert actors.within(cpus, gpus).in_cluster(cpus, gpus, 1000) == size


@pytest.mark.parametrize(
    ("actors", "cpus", "gpus", "sentence"),
    [
        (
            Actors(concurrency=4),
            4,
            0,
            r"4 actors of 1 CPUs each leave none of the cluster's 4 for reading; give concurrency 3",
        ),
        (Actors(), 1, 0, r"the cluster has 1 CPUs; an actor of 1 and a reader need 2"),
        (Actors(num_gpus=1, concurrency=3), 64, 2, r"3 actors of 1 cards each; the cluster has 2 cards"),
    ],
)
def test_what_has_no_room_is_refused_in_a_sentence(actors, cpus, gpus, sentence):
    with pytest.raises(JobError, match=f"^{sentence}$"):
        actors.in_cluster(cpus, gpus, 1000)


def test_senseless_actors_are_refused():
    for wrong in ({"num_cpus": 0.1}, {"concurrency": 0}, {"concurrency": (3, 2)}, {"num_gpus": -1}):
        with pytest.raises(ValueError, match=r"give at least 0\.5 CPUs, no or some cards, and 1 actor or more"):
            Actors(**wrong)


def test_without_ray_a_line_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without_ray(name, *args, **more):
        if name.partition(".")[0] == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(JobError, match=r"^Ray is not installed; install it with: pip install 'clnf-torch\[ray\]'$"):
        ray_module()
