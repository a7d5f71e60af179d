"""Shards: the inputs that are computed together and whose rows share a file, the same ones in every run."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from clnf_torch.distributed.inputs import InputFile

# Images of a shard at most: 64 faces or more are computed as fast as they ever are
MOST_IMAGES = 64
# Bytes of a shard's image files at most; JPEG unpacks them to about 15 times as many
MOST_BYTES = 2**23


@dataclass(frozen=True)
class Shard:
    """Inputs whose rows share a file.

    Attributes:
        number: Its place in the job.
        inputs: What it holds, in their order.
        settings: Digest of all that decides its rows beside them.
    """

    number: int
    inputs: tuple[InputFile, ...]
    settings: str

    @property
    def name(self) -> str:
        """What its files are called: other inputs or settings give another name."""
        content = [self.settings, [[each.name, each.bytes, each.modified] for each in self.inputs]]
        return f"{self.number:06}-{digest(content)[:16]}"

    @property
    def bytes(self) -> int:
        """Bytes of its inputs."""
        return sum(each.bytes for each in self.inputs)

    def to_json(self) -> str:
        """The shard as text, for `from_json` in another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Shard":
        """The shard from `to_json`."""
        plain = json.loads(text)
        return cls(plain["number"], tuple(InputFile(**each) for each in plain["inputs"]), plain["settings"])

    def single(self) -> "list[Shard]":
        """Each of its inputs as a shard of its own."""
        return [Shard(self.number, (each,), self.settings) for each in self.inputs]


def digest(content: object) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def in_shards(inputs: Iterable[InputFile], settings: str, most: int, most_bytes: int = MOST_BYTES) -> list[Shard]:
    """Groups neighbours, at most so many inputs and bytes together; a larger input has a shard of its own."""
    return [Shard(number, tuple(group), settings) for number, group in enumerate(_groups(inputs, most, most_bytes))]


def _groups(inputs: Iterable[InputFile], most: int, most_bytes: int) -> Iterator[list[InputFile]]:
    group: list[InputFile] = []
    size = 0
    for each in inputs:
        if group and (len(group) == most or size + each.bytes > most_bytes):
            yield group
            group, size = [], 0
        group.append(each)
        size += each.bytes
    if group:
        yield group


def unfinished(shards: Sequence[Shard], finished: set[tuple[str, int, str]]) -> list[Shard]:
    """Shards without the inputs (name, bytes, modified) that are finished; those that have none left are gone."""
    left = []
    for shard in shards:
        inputs = tuple(each for each in shard.inputs if (each.name, each.bytes, each.modified) not in finished)
        if inputs:
            left.append(Shard(shard.number, inputs, shard.settings))
    return left
