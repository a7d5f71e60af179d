"""The frames of a video, from whatever holds them, as the tracker reads them."""

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from fractions import Fraction
from itertools import chain, islice
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.faces.sources import BATCH, as_image, check_layout, check_type, matching_files, require_path
from clnf_torch.files.names import one_line
from clnf_torch.media.image_folder import IMAGES, image_files, video_files
from clnf_torch.media.images import ImageError, read_image
from clnf_torch.media.video import open_video
from clnf_torch.media.video_capture import open_source
from clnf_torch.media.video_frames import FOLDER_RATE, Frame, FrameSource

# Frames among which there must be an image: ten seconds of a camera
FIRST = 300


class FramesInMemory:
    """Frames that a caller has, or that come one after the other, such as those of a camera.

    The first image says how large frames are; those of another size, and those that are no images, are damaged frames.

    Args:
        frames: A batch, an array (F, H, W, 3) or a tensor (F, 3, H, W), a list, or anything that gives images, see
            `as_image`, or the paths of image files.
        rate: Frames per second.

    Raises:
        TypeError: A frame before the first image is of a type that holds none.
        ValueError: There is no frame, or none of the first `FIRST` is an image.
    """

    def __init__(self, frames: Iterable[Any], rate: Fraction) -> None:
        self.path, self.rate, self.problem = Path("frames"), rate, None
        self.count = len(frames) if isinstance(frames, Sized) else None
        self._rest = iter(frames)
        self._first: list[Any] = []
        self.height, self.width = self._size()

    problem: str | None

    def __iter__(self) -> Iterator[Frame]:
        """The frames, each at its time; they are read once."""
        for number, image in enumerate(chain(self._first, self._rest)):
            yield self._frame(image, number)

    def _size(self) -> tuple[int, int]:
        """Height and width of the first image; what comes before it is kept for `__iter__`."""
        failure: Exception | None = None
        for number, image in enumerate(islice(self._rest, FIRST)):
            self._first.append(image)
            _check_frame(image, number)
            try:
                height, width = _pixels(image).shape[1:]
            except (OSError, ValueError) as error:
                failure = failure or error
            else:
                return height, width
        if failure is None:
            raise ValueError("expected frames, found none")
        raise ValueError(f"none of the first {len(self._first)} frames can be used; frame 1: {failure}")

    def _frame(self, image: Any, number: int) -> Frame:
        """The frame of a number, from 0; without an image where it is damaged."""
        time = float(number / self.rate)
        try:
            pixels = _pixels(image)
            if pixels.shape[1:] != (self.height, self.width):
                found = f"{pixels.shape[2]} x {pixels.shape[1]} pixels, not {self.width} x {self.height}"
                raise ImageError(f"has {found} as the first image")
        except Exception as error:
            problem = one_line(f"frame {number + 1} cannot be used: {error}")
            self.problem = self.problem or problem
            return Frame(time, None, problem)
        return Frame(time, pixels.cpu())


def frame_source(source: Any, rate: float | None = None, device: torch.device | str | None = None) -> FrameSource:
    """The frames of a source.

    Args:
        source: The path of a video, or of a folder of numbered images; a pattern that one video matches, or the images
            that are its frames; the number of a camera; or frames, see `FramesInMemory`.
        rate: Frames per second of frames in memory, above 0; None: those of a folder.
        device: Where a video is to be decoded, see `open_video`; None: on the processor.

    Raises:
        FileNotFoundError: There is no such file or folder.
        VideoError: It cannot be read as a video.
        TypeError: It, or a frame of a list other than None, is of a type that holds no images.
        ValueError: It is none of these, an empty path, or a single image; or the rate is none.
    """
    speed = FOLDER_RATE if rate is None else _rate(rate)
    if isinstance(source, (str, os.PathLike)):
        found = _found(source)
        if isinstance(found, list):
            return FramesInMemory(found, speed)
        return open_video(found, device=None if device is None else torch.device(device))
    if type(source) is not bool and isinstance(source, Integral):
        return open_source(Path(str(int(source))))
    if not isinstance(source, Iterable) or isinstance(source, (bytes, Mapping)):
        expected = "the path of a video, a folder of images, the number of a camera, a batch or a list of frames"
        raise TypeError(f"the source is of type {type(source).__name__}; expected {expected}")
    for number, frame in enumerate(source if isinstance(source, (list, tuple)) else ()):
        _check_frame(frame, number)
    if hasattr(source, "ndim"):
        check_layout(source, BATCH)
    return FramesInMemory(source, speed)


def _rate(rate: Any) -> Fraction:
    """Frames per second, which must be a number above 0."""
    try:
        exact = Fraction(float(rate))
    except (TypeError, ValueError, OverflowError):
        exact = Fraction(0)
    if exact <= 0:
        raise ValueError(f"rate is {rate!r}; expected frames per second, a finite number above 0")
    # A rate may be smaller than any fraction of this denominator
    return exact.limit_denominator(1 << 16) or exact


def _found(source: str | os.PathLike[str]) -> Path | list[Path]:
    """The file or folder of a path or of a pattern, or the images that match it."""
    path = require_path(source)
    if path.exists():
        return _single([path] if not path.is_dir() or image_files(path) else video_files(path) or [path], path)
    if not glob.has_magic(os.fspath(source)):
        raise FileNotFoundError(f"{path}: there is no such video or folder")
    files = matching_files(os.fspath(source))
    images = [file for file in files if file.suffix.lower() in IMAGES]
    return images if len(images) == len(files) else _single(files, path)


def _single(videos: list[Path], where: Path) -> Path:
    """The only one of some videos."""
    if len(videos) > 1:
        raise ValueError(f"{where}: expected one video, found {len(videos)}; give each to clnf_torch.track")
    return videos[0]


def _check_frame(frame: Any, number: int) -> None:
    """Refuses what can hold no image; None may stand for a frame that could not be read."""
    if frame is not None:
        check_type(frame, f"frame {number + 1}", "an image of Pillow's, an array, a tensor, or the path of an image")


def _pixels(image: Any) -> Tensor:
    """A frame as RGB, uint8, shape (3, H, W), read if it is a path."""
    if isinstance(image, (str, os.PathLike)):
        return read_image(Path(image))
    return as_image(image)
