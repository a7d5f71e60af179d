"""How rows of a batch reach compiled loops: as arrays, shared among threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch
from torch import Tensor

from clnf_torch.compilation.compiler import Arrays

# A thread takes longer to start than to search fewer faces than these
FACES_PER_THREAD = 4


def in_threads(some: Callable[..., None], records: tuple[Arrays, ...], count: int) -> None:
    """Does the rows of a batch, in every array of some records, shared among as many threads as torch uses.

    The threads end with the call: a pool that stays would be without its threads in a forked process.
    """
    threads = min(torch.get_num_threads(), count // FACES_PER_THREAD)
    if threads < 2:
        some(*records)
        return
    ends = [count * number // threads for number in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        shares = [[tuple(a[first:last] for a in record) for record in records] for first, last in pairwise(ends)]
        list(pool.map(lambda share: some(*share), shares))


def arrays(*tensors: Tensor) -> Arrays:
    """The tensors as contiguous arrays, without a copy where they are contiguous."""
    # Most are contiguous and need no gradient, and every operation that does nothing takes its microsecond
    plain = (tensor.detach() if tensor.requires_grad else tensor for tensor in tensors)
    return tuple((tensor if tensor.is_contiguous() else tensor.contiguous()).numpy() for tensor in plain)
