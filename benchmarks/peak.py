"""The most memory that this process has had."""

import resource
from pathlib import Path


def peak() -> float:
    """MiB of resident memory at most so far.

    Linux counts it from the program's start; elsewhere it is what ``getrusage`` says, which may include the parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
