"""Writes a ``torch.save`` archive tensor by tensor, so that a bundle larger than memory can be written.

The archive is the zip that ``torch.load(weights_only=True, mmap=True)`` reads: a pickle that refers to its storages by
number, and each storage as an uncompressed record that begins at a multiple of 64 bytes.
"""

import collections
import io
import math
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clnf_torch.files.writing import write_atomically

# Bytes; as torch.save does, so that mapped tensors are aligned for any vector instruction
ALIGNMENT = 64
# Bytes staged between a tensor and the file
CHUNK = 1 << 22
# Magnitude of weights beyond which a network's answers are no numbers
LARGEST = 1e9
# Bytes of a zip record's header before its name
LOCAL_HEADER = 30
# Bytes that zipfile appends to a header when it writes 64-bit sizes
ZIP64_FIELD = 20
# Bytes of an empty extra field
PADDING_FIELD = 4

Progress = Callable[[int, int], None]
"""Called with the bytes written so far and the bytes in all."""

_STORAGES: dict[torch.dtype, Any] = {
    torch.float64: torch.DoubleStorage,
    torch.float32: torch.FloatStorage,
    torch.float16: torch.HalfStorage,
    torch.bfloat16: torch.BFloat16Storage,
    torch.int64: torch.LongStorage,
    torch.int32: torch.IntStorage,
    torch.int16: torch.ShortStorage,
    torch.int8: torch.CharStorage,
    torch.uint8: torch.ByteStorage,
    torch.bool: torch.BoolStorage,
}


@dataclass(frozen=True, eq=False)
class LazyTensor:
    """A tensor that is made when its turn to be written comes.

    Attributes:
        shape: The shape it will have.
        dtype: The type it will have.
        make: Makes it; called once per save.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    make: Callable[[], Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of its storage."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class _Storage:
    """Stands in the pickle for the record that will hold a tensor's numbers."""

    number: int
    tensor: LazyTensor


class _Pickler(pickle.Pickler):
    """Pickles plain values; puts tensors aside for their own records."""

    def __init__(self, stream: io.BytesIO) -> None:
        # The protocol of torch.save, and of its weights-only reader
        super().__init__(stream, protocol=2)
        self.storages: list[_Storage] = []

    def reducer_override(self, value: Any) -> Any:
        """Reduces a tensor to the call that rebuilds it, as ``Tensor.__reduce_ex__`` does."""
        if isinstance(value, Tensor):
            tensor = _as_lazy(value)
        elif isinstance(value, LazyTensor):
            tensor = value
        else:
            return NotImplemented
        if tensor.dtype not in _STORAGES:
            raise TypeError(
                f"a bundle holds no {tensor.dtype} tensors; convert it to one of {sorted(map(str, _STORAGES))}"
            )
        storage = _Storage(len(self.storages), tensor)
        self.storages.append(storage)
        hooks: collections.OrderedDict[str, Any] = collections.OrderedDict()
        arguments = (storage, 0, tuple(tensor.shape), _row_major(tensor.shape), False, hooks)
        return torch._utils._rebuild_tensor_v2, arguments

    def persistent_id(self, value: Any) -> Any:
        """Names a storage by type, record number, device and element count."""
        if not isinstance(value, _Storage):
            return None
        return ("storage", _STORAGES[value.tensor.dtype], str(value.number), "cpu", math.prod(value.tensor.shape))


def _as_lazy(tensor: Tensor) -> LazyTensor:
    """An existing tensor, to be written as a compact copy on the CPU without its gradient."""
    return LazyTensor(tuple(tensor.shape), tensor.dtype, lambda: tensor.detach())


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a contiguous tensor, as torch counts them (an empty axis counts as 1)."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * max(size, 1))
    return tuple(reversed(strides[: len(shape)]))


def is_sane(numbers: Tensor) -> bool:
    """Whether all numbers of a tensor that has some are finite, and not larger than `LARGEST`."""
    low, high = numbers.aminmax()
    # As Python's numbers: in half precision, the limit would be infinite
    return bool(-LARGEST <= low.item() and high.item() <= LARGEST)


def save_archive(
    obj: Any, path: str | os.PathLike[str], progress: Progress | None = None, *, finite: bool = False
) -> None:
    """Writes plain values, tensors and lazy tensors as ``torch.save`` would, one tensor in memory at a time.

    The same tensor object met twice is written once; a view is written as a compact copy of its own numbers.
    The file appears under its name only when it is complete.

    Args:
        obj: Dictionaries, lists, tuples, strings, numbers, None, ``Tensor`` and ``LazyTensor``.
        path: The file to write, replaced if it exists.
        progress: Called after each piece with the bytes written and the bytes in all.
        finite: Refuse tensors with numbers that are not finite or larger than `LARGEST`.

    Raises:
        TypeError: A tensor's type has no place in the format.
        ValueError: A lazy tensor came out with another shape or type than it promised, or with refused numbers.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump(obj)
    counter = _Counter(progress, sum(storage.tensor.nbytes for storage in pickler.storages))
    with write_atomically(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _write_bytes(archive, "data.pkl", stream.getvalue())
        _write_bytes(archive, "byteorder", sys.byteorder.encode())
        for storage in pickler.storages:
            _write_tensor(archive, f"data/{storage.number}", storage.tensor, counter, finite)
        _write_bytes(archive, "version", b"3\n")
        _write_bytes(archive, ".data/serialization_id", b"0" * 40)


class _Counter:
    """Counts bytes for the caller's progress bar."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def add(self, count: int) -> None:
        """Reports ``count`` further bytes."""
        self.done += count
        if self.progress is not None:
            self.progress(self.done, self.total)


def _write_tensor(archive: zipfile.ZipFile, name: str, lazy: LazyTensor, counter: _Counter, finite: bool) -> None:
    """Makes a tensor and writes its numbers through a small buffer; the tensor is free again afterwards."""
    tensor = lazy.make()
    if tuple(tensor.shape) != tuple(lazy.shape) or tensor.dtype != lazy.dtype:
        raise ValueError(
            f"record {name} promised {lazy.shape} {lazy.dtype}, but {tuple(tensor.shape)} {tensor.dtype} was made"
        )
    if finite and tensor.is_floating_point() and tensor.numel() and not is_sane(tensor):
        shape = tuple(tensor.shape)
        raise ValueError(f"expected finite numbers up to {LARGEST:g}, found others in a tensor of shape {shape}")
    with _open_record(archive, name, lazy.nbytes) as record:
        if lazy.nbytes == 0:
            return
        numbers = tensor.to("cpu").contiguous().reshape(-1).view(torch.uint8)
        buffer = bytearray(min(CHUNK, lazy.nbytes))
        staged = torch.frombuffer(buffer, dtype=torch.uint8)
        for piece in numbers.split(CHUNK):
            staged[: len(piece)] = piece
            record.write(memoryview(buffer)[: len(piece)])
            counter.add(len(piece))


def _write_bytes(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    with _open_record(archive, name, len(content)) as record:
        record.write(content)


def _open_record(archive: zipfile.ZipFile, name: str, size: int) -> Any:
    """Opens a record whose content will begin at a multiple of ``ALIGNMENT`` bytes."""
    assert archive.fp is not None
    # Its date is 1980: the same bundle is the same bytes
    record = zipfile.ZipInfo(f"archive/{name}")
    header = archive.fp.tell() + LOCAL_HEADER + len(record.filename) + ZIP64_FIELD + PADDING_FIELD
    padding = -header % ALIGNMENT
    # PyTorch's padding field
    record.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    record.file_size = size
    return archive.open(record, "w", force_zip64=True)
