"""Decompresses LZ4 frames: blocks of sequences, each of literals and a match of earlier bytes."""

MAGIC = b"\x04\x22\x4d\x18"
# Bits of the header's first byte
VERSION, BLOCK_CHECKSUMS, CONTENT_SIZE, DICTIONARY = 0x40, 0x10, 0x08, 0x01
# Bit of a block's length: its bytes are not compressed
UNCOMPRESSED = 1 << 31
# A length that goes on in further bytes
LONG_LENGTH = 15
# Least length of a match
MIN_MATCH = 4


def decompress_frame(content: bytes, most: int) -> bytes:
    """The bytes in a frame.

    Checksums are not compared; what comes out is to be checked by whoever knows what it should be.

    Args:
        content: The file, from its first byte.
        most: How many bytes there may be in it: matches make a thousand bytes of four.

    Raises:
        ValueError: It is no such frame, needs a dictionary, is damaged, or has more bytes in it.
    """
    if content[:4] != MAGIC or len(content) < 7:
        raise ValueError("the file does not begin as an LZ4 frame does")
    flags = content[4]
    if flags & 0xC0 != VERSION or flags & DICTIONARY:
        raise ValueError(f"an LZ4 frame with flags {flags:#04x}, which this program does not know")
    position = 15 if flags & CONTENT_SIZE else 7
    out = bytearray()
    while size := _number(content, position, 4):
        block = content[position + 4 : position + 4 + size % UNCOMPRESSED]
        if len(block) < size % UNCOMPRESSED:
            raise ValueError(f"the LZ4 frame ends inside the block at byte {position}")
        if size & UNCOMPRESSED:
            out += block
        else:
            _decompress_block(block, out, most)
        if len(out) > most:
            raise ValueError(f"the LZ4 frame has more than {most:,} bytes in it")
        position += 4 + len(block) + (4 if flags & BLOCK_CHECKSUMS else 0)
    return bytes(out)


def _decompress_block(block: bytes, out: bytearray, most: int) -> None:
    """Appends the sequences of a block: literals, then a match, bytes that came before; too many bytes end it."""
    position = 0
    while position < len(block) and len(out) <= most:
        token = block[position]
        count, position = _length(block, position + 1, token >> 4)
        out += block[position : position + count]
        position += count
        # The last sequence of a block has no match
        if position == len(block):
            return
        distance = _number(block, position, 2)
        count, position = _length(block, position + 2, token & LONG_LENGTH)
        _copy_match(out, distance, min(count + MIN_MATCH, most + 1))
    if len(out) <= most:
        raise ValueError("a block of the LZ4 frame ends too early")


def _copy_match(out: bytearray, distance: int, count: int) -> None:
    """Appends a match that begins some bytes before the end; it may overlap the bytes that are being appended."""
    if not 1 <= distance <= len(out):
        raise ValueError(f"the LZ4 frame repeats bytes {distance} before the end of {len(out)}")
    pattern = out[len(out) - distance :][:count]
    out += (pattern * -(-count // len(pattern)))[:count]


def _length(block: bytes, position: int, count: int) -> tuple[int, int]:
    """A length that begins with four bits, and the position after it."""
    more = 255 if count == LONG_LENGTH else 0
    while more == 255:
        more = _number(block, position, 1)
        count, position = count + more, position + 1
    return count, position


def _number(content: bytes, position: int, size: int) -> int:
    """A whole number of some bytes, the lowest first."""
    if position + size > len(content):
        raise ValueError("the LZ4 frame ends too early")
    return int.from_bytes(content[position : position + size], "little")
