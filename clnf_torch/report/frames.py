"""The frames that a report shows: which of a table, and as small drawn JPEG images."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from clnf_torch.drawing import DrawingStyle, DrawnFaces, draw_faces
from clnf_torch.media.images import ImageError, jpeg, read_image
from clnf_torch.media.video import open_video
from clnf_torch.media.video_frames import VideoError
from clnf_torch.report.records import FaceLog, TableError
from clnf_torch.report.sources import Entry
from clnf_torch.report.tables import read_rows

# Bounds of what a page holds: frames of one table and of all together, pixels of their longer side. A frame takes about
# 25 kB, all of them so about 10 MB of the page
MOST_FRAMES, MOST_IN_ALL, LONGEST_SIDE = 40, 300, 480
# Frames of each table, even where there are many
FEWEST_FRAMES = 3
# Of JPEG
QUALITY = 75
# Best and worst frames that are shown on top
SHOWN = 4
# Share of all frames between two best or two worst ones, so that they are not neighbours
APART = 0.1

BEST, WORST, EVEN = "best", "worst", "even"


@dataclass(frozen=True)
class ShownFrame:
    """One frame of a report: its number, why it is shown, its score by `frame_scores`, and a JPEG file."""

    number: int
    kind: str
    score: float
    content: bytes
    width: int
    height: int


def frames_each(tables: int) -> int:
    """How many frames each of so many tables may show."""
    return min(MOST_FRAMES, max(FEWEST_FRAMES, MOST_IN_ALL // max(tables, 1)))


def frame_scores(log: FaceLog) -> tuple[np.ndarray, np.ndarray]:
    """The frames of a table, ascending, and the least confidence of their faces; -1 without a face."""
    numbers = log.frames()
    place = np.searchsorted(numbers, log.frame)
    scores = np.full(len(numbers), np.inf)
    np.minimum.at(scores, place[log.success], np.nan_to_num(log.confidence[log.success]))
    return numbers, np.where(np.isfinite(scores), scores, -1.0)


def choose_frames(log: FaceLog, most: int) -> dict[int, str]:
    """The frames to show: some of the surest, of the least sure, one without a face, and the rest evenly spread.

    Args:
        log: The table.
        most: Number of frames, at most.

    Returns:
        Why each is shown, by its number.
    """
    numbers, scores = frame_scores(log)
    found, lost = np.flatnonzero(scores >= 0), np.flatnonzero(scores < 0)
    each = min(SHOWN, max(1, most // 3))
    order = found[np.argsort(scores[found], kind="stable")]
    best = _apart(order[::-1], each, len(numbers))
    # In the middle of the frames without a face
    worst = [int(lost[len(lost) // 2])] if len(lost) else []
    worst += _apart([place for place in order if place not in best], each - len(worst), len(numbers))
    chosen = {place: BEST for place in best} | {place: WORST for place in worst}
    rest = np.setdiff1d(np.arange(len(numbers)), list(chosen))
    even = rest[np.linspace(0, len(rest) - 1, min(len(rest), most - len(chosen))).round().astype(int)]
    chosen |= {int(place): EVEN for place in even}
    return {int(numbers[place]): chosen[place] for place in sorted(chosen)}


def _apart(order: Collection[int] | np.ndarray, count: int, frames: int) -> list[int]:
    """The first of some places, of which no two are close to each other."""
    chosen = list[int]()
    for place in order:
        if len(chosen) >= count:
            break
        if all(abs(place - other) > APART * frames for other in chosen):
            chosen.append(int(place))
    return chosen


def shown_frames(
    entry: Entry, most: int, read: Callable[[int], None] = lambda count: None
) -> tuple[list[ShownFrame], str | None]:
    """The frames of a table that are shown, as far as they can be read, and what was wrong in a line.

    Args:
        entry: The table.
        most: Number of frames, at most.
        read: Told how many bytes more of the table are read, for what is drawn of its faces.
    """
    log = entry.log
    if log is None or not len(log):
        return [], None
    chosen, shown = choose_frames(log, most), list[ShownFrame]()
    scores = dict(zip(*(column.tolist() for column in frame_scores(log)), strict=True))
    try:
        if needs_rows(entry):
            log = read_rows(entry.path, log, np.flatnonzero(np.isin(log.frame, list(chosen))), read)
        for number, image in _images(entry, chosen):
            pixels = drawn_frame(image, log, number, drawn=entry.drawn)
            height, width = pixels.shape[:2]
            shown.append(ShownFrame(number, chosen[number], scores[number], jpeg(pixels, QUALITY), width, height))
    except (VideoError, ImageError, TableError, OSError) as error:
        return shown, str(error)
    return shown, None


def needs_rows(entry: Entry) -> bool:
    """Whether a table is read once more for the rows of the frames that are shown."""
    has_images = bool(entry.images) or (entry.pictures is not None and not entry.drawn)
    return has_images and entry.log is not None and entry.log.kept is not None


def _images(entry: Entry, chosen: Collection[int]) -> Iterator[tuple[int, Tensor]]:
    """The images of some frames, by number, as far as they are found."""
    for number in chosen:
        if number in entry.images:
            yield number, read_image(entry.images[number])
    if entry.pictures is not None:
        yield from open_video(entry.pictures).images(chosen)


def drawn_frame(image: Tensor, log: FaceLog, number: int, *, drawn: bool = False) -> np.ndarray:
    """A small image of a frame with its faces, RGB, shape (h, w, 3).

    Args:
        image: RGB, uint8, shape (3, H, W).
        log: The table.
        number: Of the frame.
        drawn: Whether the faces are drawn already.
    """
    share = min(1.0, LONGEST_SIDE / max(image.shape[1:]))
    size = [max(1, round(side * share)) for side in image.shape[1:]]
    small = functional.interpolate(image[None].float(), size, mode="area")[0].round().to(torch.uint8)
    if drawn or log.landmarks is None:
        return small.permute(1, 2, 0).numpy()
    rows = log.rows_of(number)
    faces = DrawnFaces.of_numbers(
        landmarks=_scaled(log.landmarks[rows], share),
        confidence=torch.from_numpy(log.confidence[rows]),
        found=torch.ones(len(rows), dtype=torch.bool, device="cpu"),
        pose=None if log.params is None else _scaled_pose(log.params[rows], share),
        head=None if log.pose is None else torch.from_numpy(log.pose[rows]),
        eyes=None if log.eyes is None else _scaled(log.eyes[rows], share),
        gaze=None if log.gaze is None else _directions(log.gaze[rows]),
        names=[str(face) for face in log.face[rows]],
    )
    return draw_faces(small, faces, DrawingStyle(text_size=0.03))


def _directions(angles: np.ndarray) -> Tensor:
    """Unit vectors of both eyes (R, 2, 3) along angles (R, 2) to the right and down."""
    ahead = np.concatenate([np.tan(angles), -np.ones((len(angles), 1))], axis=1)
    looks = torch.from_numpy(ahead / np.linalg.norm(ahead, axis=1, keepdims=True))
    return looks[:, None].expand(-1, 2, -1)


def _scaled(points: np.ndarray, share: float) -> Tensor:
    """Points in an image that is smaller; pixel centres are at whole numbers."""
    return torch.from_numpy((points + 0.5) * share - 0.5)


def _scaled_pose(params: np.ndarray, share: float) -> Tensor:
    """Weak perspective (R, 6) in an image that is smaller."""
    scale, rotation = torch.from_numpy(params[:, :1] * share), torch.from_numpy(params[:, 1:4])
    return torch.cat([scale, rotation, _scaled(params[:, 4:], share)], dim=1)
