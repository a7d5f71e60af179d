"""Unpacks LZ4 frames: blocks of bytes that are given, and of bytes that repeat earlier ones."""

MAGIC = b"\x04\x22\x4d\x18"
# Bits of the header's first byte
VERSION, BLOCK_CHECKSUMS, CONTENT_SIZE, DICTIONARY = 0x40, 0x10, 0x08, 0x01
# Bit of a block's length: its bytes are not compressed
PLAIN = 1 << 31
# A length that goes on in further bytes
LONG = 15
# Bytes that are repeated at least
SHORTEST = 4


def unpack_frame(content: bytes) -> bytes:
    """The bytes in a frame.

    Checksums are not compared; what comes out is to be checked by whoever knows what it should be.

    Args:
        content: The file, from its first byte.

    Raises:
        ValueError: It is no such frame, needs a dictionary, or is damaged.
    """
    if content[:4] != MAGIC or len(content) < 7:
        raise ValueError("the file does not begin as an LZ4 frame does")
    flags = content[4]
    if flags & 0xC0 != VERSION or flags & DICTIONARY:
        raise ValueError(f"an LZ4 frame with flags {flags:#04x}, which this program does not know")
    place = 15 if flags & CONTENT_SIZE else 7
    out = bytearray()
    while size := _number(content, place, 4):
        block = content[place + 4 : place + 4 + size % PLAIN]
        if len(block) < size % PLAIN:
            raise ValueError(f"the LZ4 frame ends inside the block at byte {place}")
        if size & PLAIN:
            out += block
        else:
            _unpack_block(block, out)
        place += 4 + len(block) + (4 if flags & BLOCK_CHECKSUMS else 0)
    return bytes(out)


def _unpack_block(block: bytes, out: bytearray) -> None:
    """Appends what a block says: again and again, bytes of its own, then some that came before."""
    place = 0
    while place < len(block):
        token = block[place]
        count, place = _length(block, place + 1, token >> 4)
        out += block[place : place + count]
        place += count
        # The last of a block repeats nothing
        if place == len(block):
            return
        distance = _number(block, place, 2)
        count, place = _length(block, place + 2, token & LONG)
        _repeat(out, distance, count + SHORTEST)
    raise ValueError("a block of the LZ4 frame ends too early")


def _repeat(out: bytearray, distance: int, count: int) -> None:
    """Appends bytes that begin some bytes before the end, which may go on into those that are being appended."""
    if not 1 <= distance <= len(out):
        raise ValueError(f"the LZ4 frame repeats bytes {distance} before the end of {len(out)}")
    pattern = out[len(out) - distance :][:count]
    out += (pattern * -(-count // len(pattern)))[:count]


def _length(block: bytes, place: int, count: int) -> tuple[int, int]:
    """A length that begins with four bits, and the place after it."""
    more = 255 if count == LONG else 0
    while more == 255:
        more = _number(block, place, 1)
        count, place = count + more, place + 1
    return count, place


def _number(content: bytes, place: int, size: int) -> int:
    """A whole number of some bytes, the lowest first."""
    if place + size > len(content):
        raise ValueError("the LZ4 frame ends too early")
    return int.from_bytes(content[place : place + size], "little")
