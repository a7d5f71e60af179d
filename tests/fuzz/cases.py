"""One damaged file: made, used, and judged by its message, its time, and its memory."""

from __future__ import annotations

import random
import resource
import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.formats import Format

# Of a message
LONGEST_MESSAGE = 300
# Of CPU time; what takes twice as long is ended from outside
SECONDS = 5.0
# Bytes above what the process held before: so many times the file, and a floor for everything that any use takes
FACTOR, FLOOR = 4, 300 << 20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one damaged file."""

    verdict: str  # "accepted", "refused", or "fault"
    message: str
    seconds: float
    megabytes: float


class Bench:
    """A folder of a format's files, in which one at a time is damaged."""

    def __init__(self, chosen: Format, folder: Path) -> None:
        self.format, intact = chosen, folder / "intact"
        intact.mkdir(parents=True)
        files = chosen.prepare(intact)
        self.work = folder / "work"
        shutil.copytree(intact, self.work)
        self.files = [(self.work / file.relative_to(intact), file.read_bytes()) for file in files]

    def damaged(self, seed: int, number: int) -> tuple[Path, bytes]:
        """The file of a number, and its content."""
        rng = random.Random(f"{self.format.name} {seed} {number}")
        path, content = rng.choice(self.files)
        return path, self.format.mutate(content, rng)

    def run(self, path: Path, content: bytes) -> Outcome:
        """Uses a file with this content in the place of the intact one."""
        with self._replaced(path, content):
            before, started = _resident(), time.process_time()
            verdict, message = self._use(path)
            seconds, megabytes = time.process_time() - started, (_peak() - before) / 2**20
        if seconds > SECONDS:
            verdict, message = "fault", f"took {seconds:.1f} s ({message})"
        if megabytes * 2**20 > FACTOR * len(content) + FLOOR:
            verdict, message = "fault", f"took {megabytes:.0f} MB for {len(content)} bytes ({message})"
        return Outcome(verdict=verdict, message=message, seconds=seconds, megabytes=megabytes)

    def _use(self, path: Path) -> tuple[str, str]:
        """The verdict on a use, and what was said."""
        try:
            self.format.use(path)
        except self.format.refusals as error:
            message = str(error)
            short = len(message) <= LONGEST_MESSAGE and message.isprintable()
            return ("refused", message) if short else ("fault", f"a message of {len(message)} characters: {message!r}")
        except Exception:
            return "fault", traceback.format_exc()
        return "accepted", ""

    @contextmanager
    def _replaced(self, path: Path, content: bytes) -> Iterator[None]:
        """The damaged file for a while; afterwards the folder is as it was."""
        intact = dict(self.files)[path]
        path.write_bytes(content)
        try:
            yield
        finally:
            # A new file: whoever still maps the damaged one keeps it
            path.unlink()
            path.write_bytes(intact)


def limit_cpu(seconds: float) -> None:
    """Lets the system end this process when it has used so much more CPU time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _resident() -> int:
    """Bytes of memory that the process holds; its peak is measured anew from here on."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    """The most bytes of memory since `_resident`."""
    return _status("VmHWM")


def _status(field: str) -> int:
    """A size in Linux's status of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))
