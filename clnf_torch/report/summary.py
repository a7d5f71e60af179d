"""A table in numbers: frames, how many of them have a face, gaps, mean confidence."""

from dataclasses import dataclass

import numpy as np

from clnf_torch.report.frames import frame_scores
from clnf_torch.report.records import FaceLog

# Stretches without a face that a page marks, the longest of them
MOST_GAPS = 300


@dataclass(frozen=True)
class Summary:
    """Numbers of one table.

    Attributes:
        frames: Frames or images, with a face or without.
        found: Of them those with a face.
        faces: Identities that were found.
        confidence: Mean of the rows that count; None where there is none.
        seconds: Length of the video; None where the table does not say it.
        longest_gap: Frames in a row without a face, at most.
        gaps: Stretches without a face, as places on the axis of time: first, last.
    """

    frames: int
    found: int
    faces: int
    confidence: float | None
    seconds: float | None
    longest_gap: int
    gaps: list[tuple[float, float]]


def summarise(log: FaceLog) -> Summary:
    """The numbers of a table."""
    numbers, scores = frame_scores(log)
    found = scores >= 0
    confidence = log.confidence[log.success]
    mean = float(np.nanmean(confidence)) if np.isfinite(confidence).any() else None
    bounds = _runs(~found)
    places = axis_places(log, numbers)
    longest = sorted(bounds, key=lambda run: run[0] - run[1])[:MOST_GAPS]
    return Summary(
        frames=len(numbers),
        found=int(found.sum()),
        faces=len(np.unique(log.face[log.success])),
        confidence=mean,
        seconds=_length(log),
        longest_gap=max((last - first for first, last in bounds), default=0),
        # A gap lasts until the next frame
        gaps=[(float(places[first]), float(places[min(last, len(places) - 1)])) for first, last in sorted(longest)],
    )


def _length(log: FaceLog) -> float | None:
    """Seconds from the first frame to the end of the last one, which is shown as long as is usual."""
    times = np.unique(log.time[np.isfinite(log.time)]) if log.time is not None else np.zeros(0)
    if not len(times):
        return None
    return float(times[-1] - times[0] + (np.median(np.diff(times)) if len(times) > 1 else 0))


def axis_places(log: FaceLog, frames: np.ndarray) -> np.ndarray:
    """Where frames stand on the axis of time: seconds, or their numbers where the table has no times.

    Frames without a row, or without a time, stand between their neighbours.
    """
    if log.time is None:
        return frames.astype(float)
    known = np.isfinite(log.time)
    if not known.any():
        return np.full(len(frames), np.nan)
    numbers, rows = np.unique(log.frame[known], return_index=True)
    return np.interp(frames, numbers, log.time[known][rows])


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Stretches in which a mask is true: first place, and the one behind the last."""
    ends = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(first, last) for first, last in ends.reshape(-1, 2).tolist()]
