"""Archives with any damage, made record by record: checksums are right unless a test says otherwise."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from clnf_torch.files.archive import save_archive

STORAGES = {torch.float32: torch.FloatStorage, torch.int64: torch.LongStorage}


class Stored:
    """A tensor as a pickle describes it, whatever its record holds."""

    def __init__(
        self, key: str, count: int, shape: tuple, strides: tuple, offset: int = 0, dtype=torch.float32
    ) -> None:
        self.reference = ("storage", STORAGES[dtype], key, "cpu", count)
        self.arguments = (offset, shape, strides, False, OrderedDict())


class _Reference:
    def __init__(self, reference: tuple) -> None:
        self.reference = reference


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Stored):
            return torch._utils._rebuild_tensor_v2, (_Reference(value.reference), *value.arguments)
        return NotImplemented

    def persistent_id(self, value: Any) -> Any:
        return value.reference if isinstance(value, _Reference) else None


def pickled(value: Any) -> bytes:
    """A pickle of plain values and `Stored` tensors."""
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def write(path: Path, data: bytes, records: Mapping[str, bytes] | None = None, **settings: Any) -> Path:
    """An archive of a pickle and records; ``compression`` and ``twice`` (a name) are kinds of damage."""
    twice = settings.pop("twice", None)
    with zipfile.ZipFile(path, "w", settings.pop("compression", zipfile.ZIP_STORED)) as archive:
        for name, content in {"data.pkl": data, "byteorder": b"little", **(records or {})}.items():
            archive.writestr(f"archive/{name}", content)
            if name == twice:
                archive.fp.seek(0, 2)
                archive.NameToInfo.clear()
                archive.writestr(f"archive/{name}", content)
    return path


def with_byte(path: Path, record: str, flip: int = 1) -> Path:
    """The file with one bit of a record's content changed, in place."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"archive/{record}")
    names = sum(struct.unpack_from("<HH", content, info.header_offset + 26))
    content[info.header_offset + 30 + names + info.file_size // 2] ^= flip
    path.write_bytes(content)
    return path


def saved(path: Path, value: Any) -> Path:
    """A sound archive."""
    save_archive(value, path)
    return path
