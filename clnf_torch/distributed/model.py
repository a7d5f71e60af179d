"""The weights file of a job, which every machine gets through Ray's object store."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clnf_torch.distributed.storage import as_url, local_copy
from clnf_torch.models.bundle import bundle_file


@dataclass(frozen=True)
class ModelFile:
    """A weights file.

    Attributes:
        content: Its bytes.
        sha256: Of them.
    """

    content: bytes
    sha256: str

    @classmethod
    def of(cls, place: str | os.PathLike[str] | None) -> "ModelFile":
        """The file at a path or URL; None: the one that is installed.

        Raises:
            OSError: It cannot be read.
        """
        with local_copy(as_url(bundle_file(place))) as path:
            content = path.read_bytes()
        return cls(content, hashlib.sha256(content).hexdigest())

    def shared(self, ray: Any) -> Any:
        """A reference for actors."""
        return ray.put(self.content)

    @staticmethod
    @contextlib.contextmanager
    def opened(shared: Any) -> Iterator[Path]:
        """What `shared` gave, or a path, as a file that is there until the block ends."""
        if isinstance(shared, (str, os.PathLike)):
            yield Path(shared)
            return
        import ray

        with tempfile.TemporaryDirectory(prefix="clnf-torch-") as folder:
            (path := Path(folder) / "model.pt").write_bytes(ray.get(shared))
            yield path
