"""`clnf_torch.media.mp4_boxes`: impossible numbers of samples are refused, unusual ones are not."""

from __future__ import annotations

import io
import struct

import pytest

from clnf_torch.media.mp4_boxes import FEW_SAMPLES, SAMPLES_PER_BYTE, require_possible_counts
from clnf_torch.media.video import VideoFile
from clnf_torch.media.video_frames import VideoError
from tests.media.videos import assert_shades, encode, levels, patch, shades

MANY = 20_000_000
FRAGMENTED = "frag_keyframe+empty_moov"


def box(kind: bytes, *content: bytes) -> bytes:
    inside = b"".join(content)
    return struct.pack(">I4s", 8 + len(inside), kind) + inside


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def track(count: int, *, handler: bytes = b"vide", ticks: int = 1) -> bytes:
    """A track of samples of one byte each."""
    tables = box(b"stts", numbers(0, 1, count, ticks)), box(b"stsz", numbers(0, 1, count))
    hdlr = box(b"hdlr", numbers(0, 0), handler)
    return box(b"trak", box(b"mdia", hdlr, box(b"minf", box(b"stbl", *tables))))


def fragment(count: int, flags: int = 0, written: int = 0) -> bytes:
    return box(b"moof", box(b"traf", box(b"trun", numbers(flags, count), bytes(written))))


def check(*boxes: bytes) -> None:
    content = box(b"ftyp", b"isom") + b"".join(boxes)
    require_possible_counts(io.BytesIO(content), len(content))


def test_a_video_whose_fragment_claims_millions_of_samples_is_one_line(tmp_path):
    path = encode(tmp_path / "parts.mp4", shades(4), movflags=FRAGMENTED)
    assert_shades(levels(VideoFile(path)))
    patch(path, b"trun", 4, ">II", 0, MANY)
    with pytest.raises(
        VideoError, match=r"parts.mp4: expected a video, found a damaged one: its boxes claim 2000000\d"
    ):
        VideoFile(path)


@pytest.mark.parametrize("marker", [b"trun", b"stsz"])
def test_counts_of_a_real_file(tmp_path, marker):
    path = encode(tmp_path / "video.mp4", shades(4), movflags=FRAGMENTED if marker == b"trun" else "faststart")
    if marker == b"stsz":
        patch(path, marker, 8, ">II", 1, MANY)
    else:
        patch(path, marker, 8, ">I", MANY)
    with pytest.raises(VideoError, match=r"found a damaged one: its boxes claim 200000\d\d samples"):
        VideoFile(path)


def test_samples_that_are_written_one_by_one_fit_into_their_box():
    check(fragment(5, 0x300, 5 * 8))
    # Offset of the data and flags of the first sample are no fields of each
    check(fragment(5, 0x205, 8 + 5 * 4))
    check(fragment(2 * FEW_SAMPLES, 0x100, 8 * FEW_SAMPLES))
    with pytest.raises(ValueError, match=f"its boxes claim {2 * FEW_SAMPLES} samples"):
        check(fragment(2 * FEW_SAMPLES, 0x300, 8))


def test_fragments_are_summed():
    check(fragment(FEW_SAMPLES))
    with pytest.raises(ValueError, match=f"its boxes claim {FEW_SAMPLES + 1} samples, its .* at most {FEW_SAMPLES}"):
        check(fragment(FEW_SAMPLES), fragment(1))


def test_samples_of_one_size_fit_into_the_file():
    check(box(b"moov", track(MANY // SAMPLES_PER_BYTE)), box(b"mdat", bytes(MANY // SAMPLES_PER_BYTE)))
    with pytest.raises(ValueError, match=f"claim {MANY} samples"):
        check(box(b"moov", track(MANY, ticks=512)))
    # Sound of which every sample is a tick is taken by chunks, however far it is compressed
    check(box(b"moov", track(MANY, handler=b"soun")))
    with pytest.raises(ValueError, match=f"claim {MANY} samples"):
        check(box(b"moov", track(9, handler=b"soun"), track(MANY)))


def test_large_open_and_damaged_sizes_of_boxes():
    inside = track(MANY)
    for head in (struct.pack(">I4sQ", 1, b"moov", 16 + len(inside)), struct.pack(">I4s", 0, b"moov"),
                 struct.pack(">I4s", 2**31, b"moov")):  # fmt: skip
        with pytest.raises(ValueError, match=f"claim {MANY} samples"):
            check(head + inside)
    check(struct.pack(">I4s", 7, b"moov") + inside)
    check(box(b"trun"), box(b"stsz", b"\1"), b"\0\0")


def test_boxes_in_boxes_without_end():
    nested = track(MANY)
    for _ in range(2000):
        nested = box(b"moov", nested)
    check(nested)


def test_other_files_are_left_alone(tmp_path):
    content = b"RIFF" + fragment(MANY)
    require_possible_counts(io.BytesIO(content), len(content))
    require_possible_counts(io.BytesIO(b""), 0)
