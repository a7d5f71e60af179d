"""Frames of a video, whatever holds them: a file, or a folder of numbered images."""

import contextlib
import functools
import queue
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import OWN_THREADS
from clnf_torch.files.names import one_line
from clnf_torch.media.image_folder import description, image_files, notes_on
from clnf_torch.media.images import ImageError, read_image

# Frames per second of a folder, which does not say
FOLDER_RATE = Fraction(30)
# Frames that wait to be used; each takes three bytes per pixel
READ_AHEAD = 4
# Seconds for which a thread that reads ahead is waited for, once nobody wants its items: most are made in less
PATIENCE = 5.0

Item = TypeVar("Item")


class VideoError(ValueError):
    """A video that cannot be read; its text is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def video_problem(path: Path, error: Exception) -> str:
    """What is wrong with a video, in a line, whatever reading it raised."""
    return str(error) if isinstance(error, VideoError) else one_line(f"{path}: {type(error).__name__}: {error}")


@dataclass(frozen=True)
class Frame:
    """One frame of a video."""

    time: float  # seconds since the first frame
    image: Tensor | None  # (3, H, W) RGB, uint8; None where it is damaged
    problem: str | None = None  # why it is, in a line, as far as it is known


class FrameSource(Protocol):
    """A video: what is known of it beforehand, and its frames, read once from the first to the last."""

    problem: str | None  # what was wrong with it, in a line, when it has been read

    @property
    def path(self) -> Path:
        """The file or folder."""
        ...

    @property
    def width(self) -> int:
        """Pixels."""
        ...

    @property
    def height(self) -> int:
        """Pixels."""
        ...

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        ...

    @property
    def count(self) -> int | None:
        """Number of frames, as far as it is known."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """The frames in order of time, all of one size."""
        ...


class FrameFolder:
    """A folder of images, in the order of file managers.

    Args:
        path: The folder.
        note: Told in a line each what is unusual about it.

    Raises:
        VideoError: It holds no image that can be read.
    """

    def __init__(self, path: Path, note: Callable[[str], None] | None = None) -> None:
        try:
            self.path, self.files = path, image_files(path)
        except OSError as error:
            raise VideoError(f"{path}: cannot be read: {error.strerror or error}") from error
        self.rate, self.count = FOLDER_RATE, len(self.files)
        self.problem: str | None = None
        self._note = note
        self.height, self.width = self._size()
        if note is not None:
            for line in notes_on(path, self.files):
                note(line)

    def __iter__(self) -> Iterator[Frame]:
        """Every image; those that cannot be read, or have another size than the first, are damaged frames."""
        first, damaged = "", 0
        for number, file in enumerate(self.files):
            image: Tensor | None = None
            problem: str | None = None
            try:
                image = self._read(file)
            except ImageError as error:
                problem = str(error)
                first, damaged = first or problem, damaged + 1
                self.problem = f"{self.path}: {damaged} of {self.count} images cannot be used, the first: {first}"
            yield Frame(float(number / self.rate), image, problem)

    def images(self, numbers: Collection[int]) -> Iterator[tuple[int, Tensor]]:
        """The images of some frames, RGB, uint8, shape (3, H, W), each with its number from 1; without damaged ones."""
        for number in sorted(numbers):
            with contextlib.suppress(ImageError):
                if 0 < number <= len(self.files):
                    yield number, self._read(self.files[number - 1])

    def _once(self, line: str) -> None:
        """Says what is unusual about an image, of the first one alone: others may be like it."""
        note, self._note = self._note, None
        if note is not None:
            note(line)

    def _size(self) -> tuple[int, int]:
        """Height and width of the first image that can be read."""
        found = "" if self.files else description(self.path)
        for file in self.files:
            try:
                image = read_image(file, self._once)
            except ImageError as error:
                found = found or str(error)
            else:
                return image.shape[1], image.shape[2]
        raise VideoError(f"{self.path}: expected a folder of images, found {found}")

    def _read(self, file: Path) -> Tensor:
        """An image of the folder's size."""
        image = read_image(file, self._once)
        height, width = image.shape[1:]
        if (height, width) != (self.height, self.width):
            raise ImageError(f"{file}: is {width} x {height} pixels, not {self.width} x {self.height} as the first")
        return image


def ahead(items: Iterable[Item], depth: int = READ_AHEAD) -> Generator[Item, None, None]:
    """The same items, made in a thread of their own while the caller is busy with earlier ones.

    Args:
        items: Read in the other thread alone; an error there, whatever it is, is raised here, after the items before
            it. Where the next one does not come, as from a camera that has stopped, the thread is left behind after
            `PATIENCE`, and ends with it.
        depth: Items that may wait.
    """
    # What gives an item or raises; None: the end
    waiting: queue.Queue[Callable[[], Item] | None] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Callable[[], Item] | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                return waiting.put(item, timeout=0.1)

    def work() -> None:
        # A thread keeps the number of threads that torch has when it first asks, which the caller may change meanwhile
        torch.get_num_threads()
        try:
            for item in items:
                put(functools.partial(_same, item))
                if stopped.is_set():
                    return
        # That of sys.exit, too: without an end the caller would wait for ever
        except BaseException as error:
            put(functools.partial(_raise, error))
        put(None)

    thread = threading.Thread(target=work, name=f"{OWN_THREADS} frames", daemon=True)
    thread.start()
    try:
        while (give := waiting.get()) is not None:
            yield give()
    finally:
        stopped.set()
        thread.join(PATIENCE)


def _same(item: Item) -> Item:
    return item


def _raise(error: BaseException) -> NoReturn:
    raise error
