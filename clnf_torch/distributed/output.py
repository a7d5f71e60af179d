"""What a job writes: a Parquet file and an entry of the manifest for each shard, and what the job is."""

import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clnf_torch.distributed.shards import Shard
from clnf_torch.distributed.storage import OutputFolder, StorageError
from clnf_torch.files.names import escaped_name

FORMAT, VERSION = "clnf_torch job", 1
# Names in the output
JOB, SHARDS, MANIFEST, UNFINISHED = "job.json", "shards", "manifest", "unfinished"


@dataclass(frozen=True)
class InputReport:
    """What became of one input.

    Attributes:
        rows: How many there are of it.
        problem: What was wrong with it, in a line, or None.
        notes: What a user should know of it, a line each.
        numbers: More of it, by name: frames, faces.
    """

    rows: int = 0
    problem: str | None = None
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, Any] | None = None


class JobOutput(OutputFolder):
    """The folder or URL of a job."""

    def begin(self, job: Mapping[str, Any]) -> None:
        """Says what the job is, or finds that an earlier run began the same one.

        Raises:
            StorageError: It holds another job, or cannot be written.
        """
        job = json.loads(json.dumps({"format": FORMAT, "version": VERSION, **job}))
        found = self.read(JOB)
        if found is None:
            if self.names(""):
                raise StorageError(f"{self.place}: expected a new folder or one of a job, found other files in it")
            self.publish_bytes(json.dumps(job, indent=1).encode("ascii") + b"\n", JOB)
            return
        before = self._parsed(JOB, found)
        changed = [name for name in {**job, **before} if job.get(name) != before.get(name)]
        if changed:
            name = changed[0]
            was, now = (_short(each.get(name)) for each in (before, job))
            raise StorageError(f"{self.place}: holds a job whose {name} is {was}, not {now}; write elsewhere")

    def job(self) -> dict[str, Any]:
        """What the job is.

        Raises:
            StorageError: There is none.
        """
        found = self.read(JOB)
        if found is None:
            raise StorageError(f"{self.place}: expected the output of a job, found no {JOB} in it")
        return self._parsed(JOB, found)

    def entries(self) -> list[dict[str, Any]]:
        """The manifest: an entry for each shard, in their order."""
        contents = self.read_all([f"{MANIFEST}/{name}" for name in self.names(MANIFEST) if name.endswith(".json")])
        return sorted(
            (self._parsed(*each) for each in contents.items()), key=lambda each: (each["number"], each["shard"])
        )

    def finished(self) -> set[tuple[str, int, str]]:
        """Names, bytes and times of all inputs that are finished."""
        return {
            (each["input"], each["bytes"], each["modified"]) for entry in self.entries() for each in entry["inputs"]
        }

    def commit(self, shard: Shard, table: Path | None, reports: Sequence[InputReport], seconds: float) -> None:
        """Enters a finished shard: its rows first, and then the entry, which says that they are complete.

        Args:
            shard: The shard.
            table: Its Parquet file on this machine, None where there are no rows.
            reports: What became of each input.
            seconds: That it took.
        """
        if table is not None:
            self.publish(table, f"{SHARDS}/{shard.name}.parquet")
        inputs = [_entry(*each) for each in zip(shard.inputs, reports, strict=True)]
        entry = {
            "shard": shard.name,
            "number": shard.number,
            "table": None if table is None else f"{SHARDS}/{shard.name}.parquet",
            "rows": sum(report.rows for report in reports),
            "seconds": round(seconds, 3),
            "node": socket.gethostname(),
            "finished": time.time(),
            "settings": shard.settings,
            "inputs": inputs,
        }
        self.publish_bytes(json.dumps(entry, indent=1).encode("ascii") + b"\n", f"{MANIFEST}/{shard.name}.json")

    def _parsed(self, name: str, content: bytes) -> dict[str, Any]:
        """The record in a file."""
        try:
            found = json.loads(content)
            if isinstance(found, dict):
                return found
        except ValueError:
            pass
        raise StorageError(f"{self.path(name)}: expected a record of clnf_torch.distributed, found another file")


def _entry(given: Any, report: InputReport) -> dict[str, Any]:
    """An input in the manifest."""
    plain = asdict(given)
    name = plain.pop("name")
    numbers = dict(report.numbers or {})
    rest = {"rows": report.rows, "problem": report.problem, "notes": list(report.notes), **numbers}
    return {"input": name, "table_name": escaped_name(name), **plain, **rest}


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
