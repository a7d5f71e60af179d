"""Many faces in many frames, worked off in blocks of frames, so that memory does not grow with the caller's batch."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import alone, loops_in
from clnf_torch.fitting.config import FitConfig
from clnf_torch.geometry.frames import as_frames, as_tensor
from clnf_torch.geometry.host import is_readable
from clnf_torch.geometry.records import Rows, join_rows, take_rows
from clnf_torch.models.pdm import ShapeParams

Result = TypeVar("Result")

# Pixels of the frames that are made ready for a fit together: eight of 1920 x 1080. Their gray levels, margins, smaller
# sizes and the float32 numbers between them take about 8 bytes each.
CPU_PIXELS = 1 << 24
# Faces from which threads pay: the operations of fewer end sooner than threads wake up, and took up to twice as long
SMALL_BATCH = 4
# Arguments with one row per face, and how many axes they have then
PER_FACE = {"regularisation": 1, "landmark_weight": 2, "visible": 2}


def in_blocks(function: Callable[..., Result]) -> Callable[..., Result]:
    """A method of a detector (frames, faces, image_index, ...), called for some frames and their faces at a time.

    On the CPU alone, and only where the frames hold more than `CPU_PIXELS`; faces are put back into their order. A
    recorded graph keeps what every block needs for its gradients, so that blocks save no memory then.
    """
    signature = inspect.signature(function)
    faces_name = list(signature.parameters)[2]

    @wraps(function)
    def blockwise(*args: Any, **kwargs: Any) -> Result:
        given = signature.bind(*args, **kwargs).arguments
        detector, frames = given.pop("self"), as_frames(given.pop("frames"))
        faces, image_index = given.pop(faces_name), given.pop("image_index", None)
        if faces_name == "params" and not isinstance(faces, ShapeParams):
            raise ValueError(f"params are of type {type(faces).__name__}; expected ShapeParams, such as a fit's params")
        if not isinstance(faces, Rows):
            faces = as_tensor(faces_name, faces)
        if image_index is not None:
            image_index = as_tensor("image_index", image_index)
        count = len(faces) if isinstance(faces, Rows) or faces.ndim else 0
        blocks = blocks_of_faces(frames, image_index, count)
        if len(blocks) < 2:
            with _few_threads(count, frames):
                return function(detector, frames, faces, image_index, **given)
        image_index = torch.arange(len(faces), device="cpu") if image_index is None else image_index.cpu()
        results = []
        for rows in blocks:
            some, place = _used_frames(frames, image_index[rows])
            options = {name: _of_rows(name, value, rows, len(faces)) for name, value in given.items()}
            results.append(function(detector, some, faces[rows], place, **options))
        return _in_order(results, torch.cat(blocks))

    return blockwise


@contextmanager
def _few_threads(faces: int, frames: Tensor) -> Iterator[None]:
    """Within it torch uses one thread for the few faces that it would not share among several; loops use all.

    Not where another thread may first use torch meanwhile: it would keep that one thread for good.
    """
    # Compilers cannot trace the number of threads
    if faces >= SMALL_BATCH or not is_readable(frames) or torch.get_num_threads() == 1 or not alone():
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with loops_in(threads):
            yield
    finally:
        torch.set_num_threads(threads)


def blocks_of_faces(frames: Tensor, image_index: Tensor | None, faces: int) -> list[Tensor]:
    """The rows of the faces of each block, int64; a single block, or none, where all of them are one.

    Args:
        frames: Shape (F, C, H, W).
        image_index: Which of the frames each face is in, shape (B,); None: face i is in frame i.
        faces: Number of faces B.
    """
    height, width = frames.shape[-2:]
    at_once = max(1, CPU_PIXELS // max(1, height * width))
    count = frames.shape[0]
    if not is_readable(frames) or count <= at_once or (image_index is None and count != faces):
        return []
    index = torch.arange(faces, device="cpu") if image_index is None else image_index.cpu()
    if index.shape != (faces,) or index.is_floating_point() or not faces:
        return []
    order = index.argsort(stable=True)
    # Numbers the frames that are used
    used = (index[order].diff(prepend=index[order][:1]) != 0).cumsum(0)
    counts = (used // at_once).unique_consecutive(return_counts=True)[1]
    return list(order.split(counts.tolist()))


def _used_frames(frames: Tensor, image_index: Tensor) -> tuple[Tensor, Tensor]:
    """The frames that faces (B,) are in, and which of these each is in; -1 where a frame does not exist."""
    exists = (image_index >= 0) & (image_index < len(frames))
    used = image_index[exists].unique()
    place = torch.where(exists, torch.searchsorted(used, image_index), -1)
    if not len(used):
        return frames[:1], place
    first, last = int(used[0]), int(used[-1])
    # Without a copy where they follow each other
    return (frames[first : last + 1] if last - first + 1 == len(used) else frames.index_select(0, used)), place


def _of_rows(name: str, value: Any, rows: Tensor, faces: int) -> Any:
    """What an argument says about some of the faces."""
    if isinstance(value, FitConfig) and isinstance(value.regularisation, Tensor):
        regularisation = _of_rows("regularisation", value.regularisation, rows, faces)
        return replace(value, regularisation=regularisation)
    # Numbers hold for all faces
    if name not in PER_FACE or not hasattr(value, "__len__"):
        return value
    value = as_tensor(name, value)
    return value[rows] if value.ndim == PER_FACE[name] and len(value) == faces else value


def _in_order(results: list[Any], rows: Tensor) -> Any:
    """Results of blocks, a record of rows or several of them, as one whose rows are those of the faces."""
    if isinstance(results[0], tuple):
        return tuple(_in_order(list(some), rows) for some in zip(*results, strict=True))
    return take_rows(join_rows(*results), rows.argsort())
