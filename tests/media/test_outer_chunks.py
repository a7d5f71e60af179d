"""Files whose outermost elements say that more belongs to them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from clnf_torch.media.outer_chunks import missing_bytes
from clnf_torch.media.video import VideoFile
from tests.media.videos import encode

HEADER = b"\x1a\x45\xdf\xa3\x83abc"
ASF_HEADER, ASF_DATA = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), bytes(16)


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".wmv", "wmv2")])
def test_a_video_that_was_cut_off_says_so(tmp_path, suffix, codec):
    noise = list(np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8))
    whole = encode(tmp_path / f"whole{suffix}", noise, codec, g="1")
    content = whole.read_bytes()
    kept = len(content) // 2
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(content[:kept])
    missing, source = missing_bytes(cut), VideoFile(cut)
    count = len(list(source))
    # An index of WMV lies behind its frames, and is not announced
    assert 0 < missing <= len(content) - kept and 0 < count < 20
    assert f"it ends {missing} bytes too early, behind frame {count}; it may be cut off" in str(source.problem)
    source = VideoFile(whole)
    assert (missing_bytes(whole), len(list(source)), source.problem) == (0, 20, None)


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        (HEADER + b"\x18\x53\x80\x67\x85abc", 2),
        (HEADER + b"\x18\x53\x80\x67\x40\x05abc", 2),
        (HEADER + b"\x18\x53\x80\x67\x83abc", 0),
        # Broadcasts: the size is not known
        (HEADER + b"\x18\x53\x80\x67\xffabc", 0),
        (HEADER + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"abc", 0),
        (HEADER[:6], 2),
        (HEADER[:4], 0),
        (HEADER, 0),
        (struct.pack("<16sQ", ASF_HEADER, 24) + struct.pack("<16sQ", ASF_DATA, 30) + b"abc", 3),
        (struct.pack("<16sQ", ASF_HEADER, 24) + struct.pack("<16sQ", ASF_DATA, 0) + b"abc", 0),
        (b"RIFF\xff\xff\xff\x00", 0),
        (b"", 0),
    ],
)
def test_the_end_is_read_from_the_outermost_elements(tmp_path, content, missing):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert missing_bytes(path) == missing
