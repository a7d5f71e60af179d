"""What libjpeg and libpng print about damage: caught, so that it is said with the name of the image."""

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator

STDERR = 2
# How their messages begin; what other threads print meanwhile is passed on
THEIRS = re.compile(
    rb"libpng (?:error|warning): *|Corrupt JPEG data: *|(?=Premature end of JPEG|Invalid |Inconsistent |Unsupported |"
    rb"Bogus |Unknown Adobe|Warning: unknown JFIF)"
)
_one_at_a_time = threading.RLock()
# A process that another thread forks meanwhile would have its stderr in a file, and wait for ever for this lock
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_one_at_a_time.acquire,
        after_in_parent=_one_at_a_time.release,
        after_in_child=_one_at_a_time.release,
    )


@contextlib.contextmanager
def caught_messages() -> Iterator[list[str]]:
    """Catches what decoders print while the block runs; they write past Python to the process's stderr.

    Yields:
        A list, which holds their messages when the block has ended.
    """
    messages: list[str] = []
    with _one_at_a_time, contextlib.ExitStack() as ends:
        try:
            stderr = os.dup(STDERR)
            ends.callback(os.close, stderr)
            file = _memory_file(ends)
        except OSError:
            # Without stderr nothing is printed, and without room nothing is caught
            yield messages
            return
        os.dup2(file, STDERR)
        try:
            yield messages
        finally:
            os.dup2(stderr, STDERR)
            _sort(file, stderr, messages)


def _memory_file(ends: contextlib.ExitStack) -> int:
    """An open file without a name, closed when `ends` is."""
    if not hasattr(os, "memfd_create"):
        return ends.enter_context(tempfile.TemporaryFile(buffering=0)).fileno()
    file = os.memfd_create("decoder messages")
    ends.callback(os.close, file)
    return file


def _sort(file: int, stderr: int, messages: list[str]) -> None:
    """Keeps the decoders' messages, and passes on the rest of a file."""
    size = os.fstat(file).st_size
    if not size:
        return
    os.lseek(file, 0, os.SEEK_SET)
    for line in os.read(file, size).splitlines(keepends=True):
        if start := THEIRS.match(line):
            messages.append(line[start.end() :].decode("utf-8", "replace").strip()[:100])
        else:
            os.write(stderr, line)
