"""How rows of a batch reach compiled loops: as arrays, shared among threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

from torch import Tensor

from clnf_torch.compilation.compiler import Arrays
from clnf_torch.compilation.conditions import OWN_THREADS, loop_threads

# A thread takes longer to start than to do fewer rows than these
ROWS_PER_THREAD = 4
NAME = f"{OWN_THREADS} loops"
_pools: dict[int, ThreadPoolExecutor] = {}
# A forked process has none of their threads
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)


def in_threads(some: Callable[..., None], records: tuple[Arrays, ...], count: int) -> None:
    """Does the rows of a batch, in every array of some records, shared among as many threads as loops use."""
    threads = min(loop_threads(), count // ROWS_PER_THREAD)
    if threads < 2:
        some(*records)
        return
    ends = [count * number // threads for number in range(threads + 1)]
    shares = [[_rows(record, first, last) for record in records] for first, last in pairwise(ends)]
    together([partial(some, *share) for share in shares])


def _rows(record: Arrays, first: int, last: int) -> Arrays:
    """Some rows of all arrays of a record, which stays of its kind."""
    kind = getattr(record, "_make", tuple)
    return kind(values[first:last] for values in record)


def together(jobs: list[Callable[[], None]]) -> None:
    """Does jobs at the same time, the first of them in the thread that asks."""
    # One of several that threads make at once is kept; none has threads before it has jobs
    pool = _pools.get(len(jobs)) or _pools.setdefault(len(jobs), ThreadPoolExecutor(len(jobs) - 1, NAME))
    others = [pool.submit(job) for job in jobs[1:]]
    try:
        jobs[0]()
    finally:
        for other in others:
            other.result()


def arrays(*tensors: Tensor) -> Arrays:
    """The tensors as contiguous arrays, without a copy where they are contiguous."""
    # Most are contiguous and need no gradient, and every operation that does nothing takes its microsecond
    return tuple(
        [
            tensor.numpy()
            if tensor.is_contiguous() and not tensor.requires_grad
            else tensor.detach().contiguous().numpy()
            for tensor in tensors
        ]
    )
