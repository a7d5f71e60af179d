"""How many samples the boxes of an MP4 or MOV file claim, before a reader makes room for them.

FFmpeg takes memory for the samples of a fragment (``trun``), and for those of one size (``stsz``), before it reads the
first of them: by their number alone. Of other tables it takes no more than it has read.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# Boxes that such a file may begin with
STARTS = {b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"sidx", b"uuid", b"emsg"}
# Boxes that hold boxes, on the way to those that are read
PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"}
# As deep as FFmpeg looks
MAX_DEPTH = 10
# Samples of one size for each byte of a file: old sound has up to six, and a video has less than one
SAMPLES_PER_BYTE = 8
# So many are let through whatever a file's size: they take 40 MB
FEW_SAMPLES = 2**20
# Flags of a fragment: what is written of each of its samples, four bytes each
FIELDS = 0xF00
HEAD, LONG = struct.Struct(">I4s"), struct.Struct(">Q")


@dataclass
class _Track:
    """What the boxes of a track say."""

    sound: bool = False
    one_size: int = 0  # samples, where all are of one size
    by_samples: bool = False  # whether each lasts a tick of its clock: FFmpeg then takes them by chunks


def require_possible_counts(file: BinaryIO, size: int) -> None:
    """Refuses a file that claims more samples than its bytes can hold; other kinds of files are left alone.

    Args:
        file: An open file, whose place is changed.
        size: Of the file, bytes.

    Raises:
        ValueError: It does; the message says how many, but not where.
    """
    file.seek(0)
    if file.read(HEAD.size)[4:] not in STARTS:
        return
    tracks, fragments = [_Track()], 0
    for kind, start, end in _boxes(file, 0, size):
        if kind == b"trak":
            tracks.append(_Track())
        elif kind in (b"hdlr", b"stts", b"stsz", b"trun"):
            file.seek(start)
            content = file.read(min(end - start, 16)).ljust(16, b"\0")
            if kind == b"trun":
                fragments += _unwritten(content, end - start)
            else:
                _read(kind, content, tracks[-1])
    single = sum(track.one_size for track in tracks if not (track.sound and track.by_samples))
    most = max(FEW_SAMPLES, SAMPLES_PER_BYTE * size)
    if fragments + single > most:
        raise ValueError(f"its boxes claim {fragments + single} samples, its {size} bytes hold at most {most}")


def lacks_index(file: BinaryIO, size: int) -> bool:
    """Whether a file of boxes has frames, but not the index of them that is written last: its end is missing.

    Args:
        file: An open file, whose place is changed.
        size: Of the file, bytes.
    """
    file.seek(0)
    if file.read(HEAD.size)[4:] not in STARTS:
        return False
    kinds = {kind for kind, _, _ in _boxes(file, 0, size)}
    return b"mdat" in kinds and not kinds & {b"moov", b"moof"}


def _unwritten(content: bytes, size: int) -> int:
    """The samples that a fragment claims without the room in its box to describe them one by one."""
    flags, count = struct.unpack_from(">II", content)
    described = 4 * (flags & FIELDS).bit_count() * count
    return 0 if 0 < described <= size else int(count)


def _read(kind: bytes, content: bytes, track: _Track) -> None:
    """Takes what a box says of a track."""
    _, first, second, third = struct.unpack(">4I", content)
    if kind == b"hdlr":
        track.sound = track.sound or content[8:12] == b"soun"
    elif kind == b"stts":
        track.by_samples = (first, third) == (1, 1)
    elif first:
        track.one_size = second


def _boxes(file: BinaryIO, start: int, end: int, depth: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Boxes and those in them: type, first byte and end of what each holds, within what holds it."""
    while start + HEAD.size <= end:
        file.seek(start)
        head = file.read(HEAD.size + LONG.size)
        if len(head) < HEAD.size:
            return
        (size, kind), body = HEAD.unpack_from(head), start + HEAD.size
        if size == 1 and len(head) == HEAD.size + LONG.size:
            (size,) = LONG.unpack_from(head, HEAD.size)
            body += LONG.size
        # The last one may leave its size open
        stop = min(start + size, end) if size else end
        if stop < body:
            return
        yield kind, body, stop
        if kind in PARENTS and depth < MAX_DEPTH:
            yield from _boxes(file, body, stop, depth + 1)
        start = stop
