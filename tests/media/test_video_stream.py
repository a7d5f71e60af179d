"""Files that are no video, hold more than one, promise too much, or are damaged: one line about each of them."""

from __future__ import annotations

import os
import socket
import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.stream import Disposition

from clnf_torch.media.video import DamagedFrames, VideoFile, open_video
from clnf_torch.media.video_frames import VideoError
from clnf_torch.media.video_stream import Tally, decoded
from clnf_torch.media.video_times import Gap
from tests.media.videos import assert_shades, encode, levels, patch, shades, write_key_frames, write_video


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are files on POSIX systems alone")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_refused_at_once(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = Path("video.mp4")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(VideoError, match=f"video.mp4: cannot be read: expected a file, found a {kind}"):
        open_video(path)


def test_letters_of_another_encoding_are_no_damage(tmp_path):
    path = tmp_path / "title.avi"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Xxxx"
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for image in shades(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
    path.write_bytes(path.read_bytes().replace(b"Xxxx", b"Caf\xe9"))
    source = VideoFile(path)
    assert_shades(levels(source))
    assert source.problem is None


def test_a_file_name_of_another_encoding_is_a_name(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.mp4")
    write_video(tmp_path / "plain.mp4", shades(3)).rename(path)
    assert_shades(levels(VideoFile(path)))
    path.write_bytes(b"nothing")
    with pytest.raises(VideoError, match="expected a video") as caught:
        VideoFile(path)
    str(caught.value).encode()


class Stubborn:
    """A video, and the decoder of it, which raises what nobody expects in its second packet."""

    format, codec_context, time_base = SimpleNamespace(name="stubborn"), SimpleNamespace(name="none"), Fraction(1)

    def __init__(self) -> None:
        self.given = 0

    def demux(self, stream):
        for time in range(3):
            packet = av.Packet(b"content")
            packet.pts = packet.dts = time
            yield packet

    def decode(self, packet):
        self.given += 1
        if self.given == 2:
            raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "not UTF-8")
        return [av.VideoFrame(16, 16)] if packet else []


def test_any_error_of_a_decoder_is_a_damaged_frame(tmp_path):
    (tmp_path / "file").write_bytes(bytes(100))
    video = Stubborn()
    found = [what for _, what in decoded(video, video, Tally(tmp_path / "file"))]
    assert [what is Gap.DAMAGED for what in found] == [False, True, False]


def test_damaged_frames_are_counted_and_named():
    damaged = DamagedFrames(frames=200)
    for number in (3, 4, 5, 9, 20, 21, 40, 60, 80, 81, 100):
        damaged.add(number)
    assert str(damaged) == "11 of 200 frames are damaged: frames 3-5, 9, 20-21, 40, 60 and 3 more"


def test_frames_beyond_the_limit_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = write_video(tmp_path / "large.mp4", shades(3, width=320, height=256))
    monkeypatch.setenv("CLNF_TORCH_MAX_PIXELS", "5000")
    with pytest.raises(VideoError, match="320 x 256 pixels, more than 5000; to allow them, set CLNF_TORCH_MAX_PIXELS"):
        VideoFile(path)
    monkeypatch.setenv("CLNF_TORCH_MAX_PIXELS", "many")
    with pytest.raises(VideoError, match="CLNF_TORCH_MAX_PIXELS='many': expected"):
        VideoFile(path)


def test_frames_that_grow_beyond_the_limit_are_damaged(tmp_path, monkeypatch):
    path = tmp_path / "grows.h264"
    parts = [encode(tmp_path / f"{size}.h264", shades(3, width=size, height=48)) for size in (64, 320)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    monkeypatch.setenv("CLNF_TORCH_MAX_PIXELS", "5000")
    source = VideoFile(path)
    assert_shades(levels(source), damaged=[3, 4, 5])
    assert "3 of 6 frames are damaged: frames 4-6" in source.problem


def test_a_promise_of_a_billion_frames_is_no_progress(tmp_path):
    path = patch(write_key_frames(tmp_path / "promise.avi", shades(4)), b"avih", 24, "<I", 10**9)
    source = VideoFile(patch(path, b"strh", 40, "<I", 10**9))
    assert source.count is None
    assert_shades(levels(source))


def test_an_index_that_names_the_same_bytes_again_and_again_ends(tmp_path):
    path = write_key_frames(tmp_path / "bomb.mp4", shades(4))
    size = VideoFile(path).path.stat().st_size
    # One sample of a size that is the same for all, and a billion of them in one chunk at the beginning of the file
    content = path.read_bytes()
    for box, numbers in ((b"stsz", (0, size // 4, 10**5)), (b"stsc", (0, 1, 1, 10**5, 1)), (b"stts", (0, 1, 10**5, 1))):
        at = content.index(box)
        packed = struct.pack(f">{len(numbers)}I", *numbers)
        content = content[: at + 4] + packed + content[at + 4 + len(packed) :]
    path.write_bytes(content)
    source = VideoFile(path)
    assert len(list(source)) < 100
    assert source.problem is not None


def test_one_of_several_videos_is_read_and_that_is_said(tmp_path):
    path, notes = tmp_path / "two.mkv", []
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, size in zip(streams, (32, 64), strict=True):
            stream.width, stream.height, stream.pix_fmt = size, 48, "yuv420p"
        for stream, size in zip(streams, (32, 64), strict=True):
            for image in shades(4, width=size):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode(None))
    source = VideoFile(path, notes.append)
    assert_shades(levels(source))
    number = {32: 1, 64: 2}[source.width]
    assert notes == [f"{path}: holds 2 videos; number {number} is read, of {source.width} x 48 pixels"]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("broadcast.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\nvideo.ts\n", "a list of other files"),
        ("both.ffconcat", "ffconcat version 1.0\nfile video.ts\nfile video.ts\n", "a list of other files"),
        ("notes.txt", "hello world " * 100, "text"),
        ("page.mp4", "\ufeff<html><body>Sign in</body></html>", "a web page, as downloads leave that failed"),
        ("pointer.mp4", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "a pointer of Git LFS"),
    ],
)
def test_text_is_no_video(tmp_path, name, text, what):
    encode(tmp_path / "video.ts", shades(4))
    (tmp_path / name).write_text(text)
    with pytest.raises(VideoError, match=f"{name}: expected a video, found {what}"):
        VideoFile(tmp_path / name)


@pytest.mark.parametrize("name", ["long" * 1000, "a\0b", "missing"])
def test_what_is_no_name_of_a_file_is_refused(tmp_path, name):
    with pytest.raises(VideoError, match="cannot be read") as caught:
        open_video(tmp_path / name)
    assert len(str(caught.value)) <= 300


def test_a_video_without_a_decoder_is_named(tmp_path):
    path = write_key_frames(tmp_path / "strange.avi", shades(3))
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"????"))
    with pytest.raises(VideoError, match="expected a video, found one that FFmpeg has no decoder for"):
        VideoFile(path)


def test_a_cover_is_no_video(tmp_path):
    path, (image,) = tmp_path / "song.m4a", shades(1)
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=8000)
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic.value
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        for packets in (sound.encode(samples), sound.encode(None)):
            container.mux(packets)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(cover.encode(None))
    with pytest.raises(VideoError, match="found a cover alone"):
        VideoFile(path)


def test_subtitles_beside_a_video_change_nothing(tmp_path):
    path, notes = tmp_path / "subtitles.mkv", []
    with av.open(str(path), "w") as container:
        video = container.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuvj420p"
        sound = container.add_stream("pcm_s16le", rate=8000)
        sound.layout = "mono"
        for number, image in enumerate(shades(4)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts = 8000, 320 * number
            container.mux(sound.encode(samples))
    source = VideoFile(path, notes.append)
    assert_shades(levels(source))
    assert notes == [] and source.problem is None


def test_a_video_one_pixel_high_is_read(tmp_path):
    source = VideoFile(write_key_frames(tmp_path / "line.avi", shades(4, height=1)))
    assert (source.width, source.height) == (64, 1)
    assert_shades(levels(source))


def test_an_empty_file_is_called_one(tmp_path):
    (path := tmp_path / "a.mp4").touch()
    with pytest.raises(VideoError, match="found an empty file; copy it anew"):
        VideoFile(path)


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_an_mp4_file_whose_index_was_cut_off_is_named(tmp_path, kept):
    content = encode(tmp_path / "a.mp4", shades(20)).read_bytes()
    (cut := tmp_path / "b.mp4").write_bytes(content[: int(kept * content.index(b"moov"))])
    with pytest.raises(VideoError, match=r"without its index \(moov\).* its end is missing; copy it anew"):
        VideoFile(cut)


def test_a_cut_mp4_file_whose_index_comes_first_is_read_as_far_as_it_goes(tmp_path):
    path = encode(tmp_path / "front.mp4", shades(20), g="1", movflags="faststart")
    path.write_bytes(path.read_bytes()[:-500])
    source = VideoFile(path)
    assert 2 <= len(levels(source)) <= 20
    assert "of the 20 frames" in source.problem or "damaged" in source.problem
