"""Videos that are no files yet: what a camera sees until it is stopped, and what comes on stdin."""

import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import torch
from av.error import FFmpegError

from clnf_torch.media.video import VideoFile, open_video
from clnf_torch.media.video_frames import Frame, FrameSource, VideoError
from clnf_torch.media.video_geometry import shown_image

STDIN = Path("-")
# What FFmpeg calls the cameras of an operating system, and one of them
CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}")}
# Frames per second of cameras that do not say
CAMERA_RATE = Fraction(30)


class Camera:
    """A camera, read until it is stopped.

    Args:
        path: What FFmpeg calls it.
        kind: FFmpeg's format of cameras; None: it finds out.

    Raises:
        VideoError: It cannot be opened.
    """

    def __init__(self, path: Path, kind: str | None = None) -> None:
        self.path, self._stopped = path, False
        self.count: int | None = None
        self.problem: str | None = None
        try:
            self._container = av.open(str(path), format=kind)
            stream = self._container.streams.video[0]
        except (FFmpegError, IndexError, ValueError) as error:
            raise VideoError(f"{path}: expected a camera, found none that can be opened: {error}") from error
        self.width, self.height = stream.codec_context.width, stream.codec_context.height
        self.rate = stream.average_rate or CAMERA_RATE

    def stop(self) -> None:
        """Ends the video behind the frame that is being read."""
        self._stopped = True

    def __iter__(self) -> Iterator[Frame]:
        """The frames as they come."""
        with self._container as container:
            start: float | None = None
            for number, frame in enumerate(container.decode(video=0)):
                if self._stopped:
                    return
                time = float(number / self.rate) if frame.time is None else frame.time
                start = time if start is None else start
                yield Frame(time - start, shown_image(frame, None, (self.width, self.height)))


def open_source(
    path: Path, note: Callable[[str], None] | None = None, device: torch.device | None = None
) -> FrameSource:
    """A video file, a folder of frames, a camera by its number, or what comes on stdin.

    Args:
        path: The file or folder; "0" for the first camera, where no file is called so; "-" for stdin.
        note: Told in a line each what a user should know of it.
        device: A card that is to decode a file, see `open_video`.

    Raises:
        VideoError: It is none of them.
    """
    if path == STDIN:
        return _spooled(note, device)
    if str(path).isdecimal() and not path.exists():
        return _camera(int(str(path)))
    return open_video(path, note, device)


def _camera(number: int) -> Camera:
    """A camera of this machine."""
    if sys.platform not in CAMERAS:
        raise VideoError(f"camera {number}: cameras are read on Linux and macOS; record a file and give that")
    kind, name = CAMERAS[sys.platform]
    return Camera(Path(name.format(number)), kind)


def _spooled(note: Callable[[str], None] | None, device: torch.device | None) -> VideoFile:
    """What comes on stdin, as a file: most formats cannot be read in one pass."""
    # Python has none where the caller closed it
    if sys.stdin is None:
        raise VideoError("stdin is closed; send a video to it, or give the name of one")
    folder = Path(tempfile.mkdtemp(prefix="clnf-torch-"))
    file = folder / "stdin"
    try:
        with file.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        source = VideoFile(file, note, device)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(source, shutil.rmtree, folder, ignore_errors=True)
    return source
