"""Reads the archives of ``torch.save`` and `save_archive`, however they are damaged.

What the file promises is compared with what it has before any memory is taken for it: records are neither compressed
nor encrypted, lie inside the file and agree with their checksums (the CRC-32 that a zip has of every record, which
``torch.load`` does not look at), and tensors lie inside their records.
"""

import io
import math
import os
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from clnf_torch.files.archive import CHUNK, LARGEST, LOCAL_HEADER, is_sane
from clnf_torch.files.plain_pickle import PickleError, read_pickle
from clnf_torch.files.reading import BEGINNING, wrong_download

# Numbers of a tensor that the schema of what is read looks at, as it knows their names
FEW = 1 << 16
# Axes of a tensor
MOST_AXES = 8
# Bytes that all tensors may have together, in bytes of the file: tied weights share theirs
SHARING = 4
# Bytes of an archive's table of contents; a CE-CLM model's has 100,000
MOST_DIRECTORY = 8 << 20
# Bit of a record's flags
ENCRYPTED = 1
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class ArchiveError(PickleError):
    """A file is no archive of plain values and tensors, or a damaged one."""


class DirectoryFile(io.FileIO):
    """A zip file, of whose table of contents no more is read than any archive has."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads as any file does."""
        if size is not None and size > MOST_DIRECTORY:
            raise ArchiveError(f"found a table of contents of {size:,} bytes")
        return super().read(size)


@dataclass(frozen=True)
class _Record:
    """Where a record lies in the file."""

    start: int
    size: int
    checksum: int  # CRC-32


@dataclass(frozen=True)
class _Storage:
    """The numbers of a record."""

    dtype: torch.dtype
    count: int
    key: str
    memory: torch.UntypedStorage


def read_archive(path: str | os.PathLike[str], *, mmap: bool = True, verify: bool = True, finite: bool = False) -> Any:
    """The values in an archive; its tensors are on the CPU and ask for no gradients.

    Args:
        path: The file.
        mmap: Tensors stay in the file until they are used; otherwise they are copied into memory.
        verify: Compare every record with its checksum, which reads the whole file; otherwise only what is no tensor.
        finite: Refuse tensors of more than `FEW` numbers of which one is not finite or larger than `LARGEST`; with
            `verify` alone.

    Raises:
        ArchiveError: It is none, or damaged; the message has neither the file nor a remedy.
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        records = _find_records(file)
        whole = _mapped(file, path) if mmap else None
        reader = _TensorReader(file, records, whole)
        values = reader.read()
        if verify:
            _verify(file, records, reader.dtypes if finite else {})
    return values


def _mapped(file: io.BufferedReader, path: str | os.PathLike[str]) -> torch.UntypedStorage:
    """The bytes of a file as memory; what is written to them stays in this process."""
    size = os.fstat(file.fileno()).st_size
    return cast(torch.UntypedStorage, torch.UntypedStorage.from_file(os.fspath(path), False, size))


def _find_records(file: io.BufferedReader) -> dict[str, _Record]:
    """The records by their names, without the archive's own in front of them."""
    size = os.fstat(file.fileno()).st_size
    try:
        with DirectoryFile(os.dup(file.fileno())) as directory, zipfile.ZipFile(directory) as archive:
            entries = archive.infolist()
    except ArchiveError:
        raise
    except Exception as error:
        # zipfile names a dozen exceptions, depending on what the file turns out to be
        file.seek(0)
        download = wrong_download(file.read(BEGINNING))
        raise ArchiveError(f"found {download or 'another or a damaged file'}") from error
    records = {}
    for entry in entries:
        if (
            entry.flag_bits & ENCRYPTED
            or entry.compress_type != zipfile.ZIP_STORED
            or entry.compress_size != entry.file_size
        ):
            raise ArchiveError(
                f"found a compressed or encrypted record {entry.filename[:40]!r}, which bundles do not have"
            )
        name = entry.filename.partition("/")[2]
        if name in records:
            raise ArchiveError(f"found the record {name[:40]!r} twice")
        records[name] = _Record(_start(file, entry, size), entry.file_size, entry.CRC)
    if sum(record.size for record in records.values()) > size:
        raise ArchiveError("found records that promise more bytes than the file has")
    return records


def _start(file: io.BufferedReader, entry: zipfile.ZipInfo, size: int) -> int:
    """The first byte of a record's content."""
    header = b""
    if 0 <= entry.header_offset < size:
        file.seek(entry.header_offset)
        header = file.read(LOCAL_HEADER)
    if len(header) < LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise ArchiveError(f"found no record {entry.filename[:40]!r} where it should be")
    start = entry.header_offset + LOCAL_HEADER + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    if start + entry.file_size > size:
        raise ArchiveError(f"found a record {entry.filename[:40]!r} that goes on after the end of the file")
    return start


class _TensorReader:
    """Makes tensors of the references in an archive's pickle.

    Args:
        file: The archive.
        records: Where its records are.
        whole: The mapped file, or None to copy.
    """

    def __init__(
        self, file: io.BufferedReader, records: Mapping[str, _Record], whole: torch.UntypedStorage | None
    ) -> None:
        self.file, self.records, self.whole = file, records, whole
        self.storages: dict[str, _Storage] = {}
        # Bytes that tensors may have in all, some of which share them
        self.left = SHARING * sum(record.size for name, record in records.items() if name.startswith("data/"))

    @property
    def dtypes(self) -> dict[str, torch.dtype]:
        """The number type of each record that tensors refer to."""
        return {f"data/{key}": storage.dtype for key, storage in self.storages.items()}

    def read(self) -> Any:
        """The values."""
        if self._content("byteorder", b"little") != b"little":
            raise ArchiveError("found numbers whose highest byte comes first")
        if "data.pkl" not in self.records:
            raise ArchiveError("found an archive without data.pkl")
        names: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch", name): _Type(dtype) for name, dtype in DTYPES.items()
        }
        names["torch._utils", "_rebuild_tensor_v2"] = self._tensor
        names["collections", "OrderedDict"] = OrderedDict
        try:
            return read_pickle(io.BytesIO(self._content("data.pkl")), names, self._storage)
        except ArchiveError:
            raise
        except PickleError as error:
            raise ArchiveError(f"found {error}") from error

    def _content(self, name: str, default: bytes = b"") -> bytes:
        """A small record, compared with its checksum."""
        if name not in self.records:
            return default
        record = self.records[name]
        self.file.seek(record.start)
        content = self.file.read(record.size)
        if zlib.crc32(content) != record.checksum:
            raise ArchiveError(f"found a record {name} that does not agree with its checksum")
        return content

    def _storage(self, reference: Any) -> _Storage:
        """The record that a pickle refers to; wherever its numbers were, they are on the CPU now."""
        kind, dtype, key, _, count = reference
        if kind != "storage" or not isinstance(dtype, _Type) or type(key) is not str or not _is_count(count):
            raise ArchiveError("found a reference to something else than numbers")
        record, dtype = self.records.get(f"data/{key}"), dtype.dtype
        if record is None or record.size != count * dtype.itemsize:
            found = "no record" if record is None else f"{record.size} bytes"
            raise ArchiveError(f"found {found} data/{key[:40]} for {count} numbers of {dtype}")
        known = self.storages.setdefault(key, _Storage(dtype, count, key, self._memory(record)))
        if known.dtype != dtype:
            raise ArchiveError(f"found a record data/{key[:40]} of two number types")
        return known

    def _memory(self, record: _Record) -> torch.UntypedStorage:
        """The bytes of a record: a part of the mapped file where numbers can be read there, otherwise a copy."""
        if self.whole is not None and record.start % 8 == 0:
            return self.whole[record.start : record.start + record.size]
        memory = torch.empty(record.size, dtype=torch.uint8, device="cpu")
        self.file.seek(record.start)
        for piece in memory.split(CHUNK) if record.size else ():
            content = bytearray(self.file.read(len(piece)))
            if len(content) < len(piece):
                raise ArchiveError("found a file that became shorter")
            piece.copy_(torch.frombuffer(content, dtype=torch.uint8))
        return memory.untyped_storage()

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
        """Numbers of a storage as a tensor; whether it asked for gradients, and its hooks, are forgotten."""
        if not (isinstance(storage, _Storage) and _is_count(offset) and _are_counts(shape) and _are_counts(strides)):
            raise ArchiveError("found a tensor without numbers, shape or strides")
        count = math.prod(shape)
        self.left -= count * storage.dtype.itemsize
        if len(shape) != len(strides) or len(shape) > MOST_AXES or self.left < 0:
            raise ArchiveError("found tensors that promise more numbers than the file has")
        last = (
            offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
            if count
            else offset - 1
        )
        if last >= storage.count or max(strides, default=0) >= 2**40 or max(shape, default=0) >= 2**40:
            raise ArchiveError(f"found a tensor outside of its record data/{storage.key[:40]}")
        if count and not _each_its_own(shape, strides):
            raise ArchiveError(f"found a tensor whose numbers stand in several places of it, data/{storage.key[:40]}")
        return torch.empty(0, dtype=storage.dtype, device="cpu").set_(storage.memory, offset, shape, strides)


@dataclass(frozen=True)
class _Type:
    """Stands for the class of a storage, which is mentioned but never made."""

    dtype: torch.dtype

    def __call__(self, *_: Any) -> Any:
        raise ArchiveError("found a storage outside of its record")


def _is_count(value: Any) -> bool:
    """Whether a value is a whole number, not negative."""
    return type(value) is int and 0 <= value < 2**62


def _each_its_own(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether every number of a tensor has a place of its own, as in any part of one, in any order of its axes."""
    extent = 0
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size > 1 and stride <= extent:
            return False
        extent += (size - 1) * stride
    return True


def _are_counts(values: Any) -> bool:
    """Whether a value is a tuple of such numbers."""
    return isinstance(values, tuple) and all(map(_is_count, values))


def _verify(file: io.BufferedReader, records: Mapping[str, _Record], finite: Mapping[str, torch.dtype]) -> None:
    """Compares all records with their checksums, and those of some number types with what numbers may be."""
    buffer = bytearray(CHUNK)
    for name, record in records.items():
        file.seek(record.start)
        checksum, left, dtype = 0, record.size, finite.get(name)
        if dtype is not None and (not dtype.is_floating_point or record.size <= FEW * dtype.itemsize):
            dtype = None
        while left and (read := file.readinto(memoryview(buffer)[: min(left, CHUNK)])):
            checksum, left = zlib.crc32(memoryview(buffer)[:read], checksum), left - read
            if dtype is not None and not is_sane(torch.frombuffer(buffer, dtype=dtype, count=read // dtype.itemsize)):
                raise ArchiveError(
                    f"found numbers that are not finite, or beyond {LARGEST:g}, in the record {name[:40]}"
                )
        if left or checksum != record.checksum:
            raise ArchiveError(f"found a record {name[:40]} that does not agree with its checksum; the file is damaged")
