"""What an AVI file says of its packets, which have numbers in place of times: by its chunks, and by its index."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

# The beginning of every chunk: its name and length; all that an empty packet takes
RIFF = struct.Struct("<4sI")


def is_avi(container: InputContainer) -> bool:
    """Whether packets have numbers in place of times, and a missing one repeats the frame before it."""
    return container.format.name == "avi"


def is_cut_off(path: Path) -> bool:
    """Whether a file ends before its outermost chunks do."""
    size, end = path.stat().st_size, 0
    with path.open("rb") as file:
        while end + RIFF.size <= size:
            file.seek(end)
            name, length = RIFF.unpack(file.read(RIFF.size))
            if name != b"RIFF":
                break
            end += RIFF.size + length + length % 2
    return end > size


def index_of(stream: VideoStream) -> Sequence[Any]:
    """What is known of a stream's packets before they are read; nothing by older versions of PyAV."""
    index: Sequence[Any] = getattr(stream, "index_entries", ())
    return index


class LostPackets:
    """Packets that the index has and the file has not, as their chunks are damaged.

    FFmpeg passes over such chunks without a word, and numbers packets as it finds them: all that come behind would be
    early.

    Args:
        stream: The video; its packets come in the order in which they lie in the file.
        size: Bytes of the file.
    """

    def __init__(self, stream: VideoStream, size: int) -> None:
        self._index, self._size = index_of(stream), size
        # The entry that is expected next, and where the packet before lies; None: it is not in the index
        self._next, self._place = 0, 0 if len(self._index) else None

    def before(self, packet: Packet | None) -> Iterator[int]:
        """The numbers of those that are lost before a packet, whose own number is put right; None: before the end."""
        place = self._size if packet is None else (packet.pos or 0) - RIFF.size
        first, before = self._next, self._place
        while self._next < len(self._index) and self._index[self._next].pos < place:
            self._next += 1
        last, here = self._next, None
        if packet is not None and last < len(self._index) and self._index[last].pos == place:
            here = self._index[last]
            self._next += 1
        self._place = None if here is None else place
        # Where an index names other places than those of the packets, nothing is known to be lost
        if before is not None and (here is not None or packet is None):
            entries = (self._index[number] for number in range(first, last))
            yield from (entry.timestamp for entry in entries if entry.size and before < entry.pos < place)
        if here is not None and packet is not None and packet.dts is not None and here.timestamp > packet.dts:
            packet.dts = here.timestamp
            packet.pts = packet.pts if packet.pts is None else here.timestamp
