"""The frames of a video, from whatever holds them, as the tracker reads them."""

import os
from collections.abc import Iterable, Iterator, Sized
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clnf_torch.faces.sources import as_image
from clnf_torch.media.images import ImageError
from clnf_torch.media.video import open_video
from clnf_torch.media.video_capture import open_source
from clnf_torch.media.video_frames import FOLDER_RATE, Frame, FrameSource


class FramesInMemory:
    """Frames that a caller has, or that come one after the other, such as those of a camera.

    The first one says how large frames are; those of another size, and those that are no images, are damaged frames.

    Args:
        frames: A batch (F, H, W, 3) or (F, 3, H, W), a list, or anything that gives images; see `as_image`.
        rate: Frames per second.

    Raises:
        ValueError: There is no frame, or the first one is no image.
    """

    def __init__(self, frames: Iterable[Any], rate: Fraction) -> None:
        self.path, self.rate, self.problem = Path("frames"), rate, None
        self.count = len(frames) if isinstance(frames, Sized) else None
        self._rest = iter(frames)
        self._first = next(self._rest, None)
        if self._first is None:
            raise ValueError("expected frames, found none")
        self.height, self.width = as_image(self._first).shape[1:]

    problem: str | None

    def __iter__(self) -> Iterator[Frame]:
        """The frames, each at its time; they are read once."""
        yield Frame(0.0, self._image(self._first, 1))
        for number, image in enumerate(self._rest, start=1):
            yield Frame(float(number / self.rate), self._image(image, number + 1))

    def _image(self, image: Any, number: int) -> Tensor | None:
        """A frame's image; None where it is damaged."""
        try:
            pixels = as_image(image)
            if pixels.shape[1:] != (self.height, self.width):
                found = f"{pixels.shape[2]} x {pixels.shape[1]} pixels, not {self.width} x {self.height}"
                raise ImageError(f"has {found} as the first")
        except Exception as error:
            self.problem = self.problem or f"frame {number} cannot be used: {error}"
            return None
        return pixels.cpu()


def frame_source(source: Any, rate: float | None = None, device: torch.device | str | None = None) -> FrameSource:
    """The frames of a source.

    Args:
        source: The path of a video, or of a folder of numbered images; the number of a camera; or frames, see
            `FramesInMemory`.
        rate: Frames per second of frames in memory; None: those of a folder.
        device: Where a video is to be decoded, see `open_video`; None: on the processor.

    Raises:
        FileNotFoundError: There is no such file or folder.
        VideoError: It cannot be read as a video.
        ValueError: It is none of these.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such video or folder")
        return open_video(path, device=None if device is None else torch.device(device))
    if isinstance(source, int):
        return open_source(Path(str(source)))
    if not isinstance(source, Iterable):
        expected = "the path of a video, a folder of images, the number of a camera, a batch or a list of frames"
        raise ValueError(f"the source is of type {type(source).__name__}; expected {expected}")
    return FramesInMemory(source, FOLDER_RATE if rate is None else Fraction(rate).limit_denominator(1 << 16))
