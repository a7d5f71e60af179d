"""What a report shows over time: confidence, head pose, gaze, and the openings and movements of eyes and mouth."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch

from clnf_torch.geometry.landmarks68 import EYES, INNER_LIPS, MOUTH_CORNERS, NUM_LANDMARKS
from clnf_torch.measures.face_measures import FaceMeasures, face_measures, points_in_head
from clnf_torch.measures.head_pose import HeadPose
from clnf_torch.report.records import FaceLog

# Points of a line, at most: more than a chart has pixels. Of more, the lowest and the highest of each stretch are kept
MOST_POINTS = 800
# The landmarks of which a chart is made
MEASURED = (*range(NUM_LANDMARKS)[EYES], *MOUTH_CORNERS, *INNER_LIPS)
# Faces that are measured at once: all 68 points of those of a long recording would be gigabytes
PIECE = 4096
# Share of the frames of a recording that are taken for a face at rest
REST = 0.2


@dataclass(frozen=True)
class Chart:
    """Lines with one axis.

    Attributes:
        title: What it shows.
        unit: Of the values.
        lines: Values by name, each of shape (T,); NaN where there is no face.
        bounds: Lowest and highest value of the axis; None: those of the lines.
    """

    title: str
    unit: str
    lines: dict[str, np.ndarray]
    bounds: tuple[float, float] | None = None


def charts(log: FaceLog, rows: np.ndarray) -> Iterator[Chart]:
    """The charts of one face, as far as the table has what they show.

    Args:
        log: The table.
        rows: Numbers of the face's rows, T of them.
    """
    yield Chart("Confidence", "", {"confidence": log.confidence[rows]}, (0.0, 1.0))
    if log.pose is not None:
        pitch, yaw, roll = np.rad2deg(log.pose[rows, 3:]).T
        yield Chart("Head rotation", "degrees", {"pitch": pitch, "yaw": yaw, "roll": roll})
        across, down, away = log.pose[rows, :3].T
        # The distance from the camera would leave no room for what changes
        away = away - torch.from_numpy(away).nanmedian().item()
        yield Chart("Head position", "mm", {"right": across, "down": down, "away, from its median": away})
    if log.gaze is not None and np.isfinite(log.gaze[rows]).any():
        right, down = np.rad2deg(log.gaze[rows]).T
        yield Chart("Gaze", "degrees", {"right": right, "down": down})
    measured, unit = measured_face(log, rows)
    if measured is not None:
        yield Chart("Eyelid opening", unit, sides(measured, "palpebral_fissure_height"))
        yield Chart("Mouth opening", unit, {"mouth": measured.mouth_opening.numpy()})
    # Images may show anyone: there is nobody at rest
    if measured is not None and log.images is None:
        yield Chart("Excursion of the corners of the mouth", unit, sides(measured, "commissure_excursion"))


def measured_face(log: FaceLog, rows: np.ndarray) -> tuple[FaceMeasures | None, str]:
    """The measures of a face, T rows, and their unit; excursion is that from the face `at_rest`.

    They are taken in millimetres where the table has 3D landmarks and the head's pose; otherwise on the landmarks of
    the image, in hundredths of the distance between the outer corners of the eyes, where turns of the head count too.
    """
    if not len(rows):
        return None, ""
    if log.points is not None and log.pose is not None and _is_measured(log, log.points):
        pose = torch.from_numpy(log.pose[rows])
        points = points_in_head(torch.from_numpy(log.points[rows]), HeadPose(pose[:, :3], pose[:, 3:]))
        return _measured(points, at_rest(points)), "mm"
    if log.landmarks is None or not _is_measured(log, log.landmarks):
        return None, ""
    flat = torch.from_numpy(log.landmarks[rows])
    points = torch.cat([flat, torch.zeros_like(flat[..., :1])], dim=-1)
    size = _measured(points).outer_canthal_distance
    points = 100 * points / size[:, None, None]
    return _measured(points, at_rest(points)), "% of the eye distance"


def _is_measured(log: FaceLog, points: np.ndarray) -> bool:
    """Whether the points of a table are those of the scheme that is measured, or of it those that charts need."""
    return points.shape[1] == NUM_LANDMARKS if log.kept is None else log.kept == MEASURED


def _measured(points: torch.Tensor, rest: torch.Tensor | None = None) -> FaceMeasures:
    """The measures of faces (T, 68 or `MEASURED`, 3), some thousand at a time."""
    rest = None if rest is None else _all_points(rest)
    pieces = [face_measures(_all_points(piece), rest) for piece in points.split(PIECE)]
    names = [field.name for field in fields(FaceMeasures)]
    return FaceMeasures(**{name: torch.cat([getattr(piece, name) for piece in pieces]) for name in names})


def _all_points(points: torch.Tensor) -> torch.Tensor:
    """All 68 points of faces, NaN where they were not read."""
    if points.shape[1] == NUM_LANDMARKS:
        return points
    found = points.new_full((len(points), NUM_LANDMARKS, points.shape[2]), torch.nan)
    found[:, list(MEASURED)] = points
    return found


def at_rest(points: torch.Tensor) -> torch.Tensor:
    """A face at rest: the median of those frames in which the mouth is least wide and least open together.

    Args:
        points: In the head's axes, shape (T, 68, 3), or of them `MEASURED`.

    Returns:
        Shape (1, 68, 3), or of them `MEASURED`.
    """
    measured = _measured(points)
    moved = torch.nan_to_num(measured.mouth_width + measured.mouth_opening, torch.inf)
    return points[moved.argsort()[: max(1, round(REST * len(points)))]].nanmedian(0, keepdim=True).values


def sides(measured: FaceMeasures, name: str) -> dict[str, np.ndarray]:
    """A measure of both sides of the face."""
    return {f"{side} in the image": getattr(measured, f"{name}_image_{side}").numpy() for side in ("left", "right")}


def thinned(values: np.ndarray, most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """A line with fewer points that looks the same.

    Args:
        values: Shape (T,); NaN where there are none.
        most: Points that are kept, at most.

    Returns:
        Numbers of the kept points, ascending, and their values: the lowest and the highest of each stretch, or NaN
        where it has none.
    """
    if len(values) <= most:
        return np.arange(len(values)), values
    kept = list[int]()
    for stretch in np.array_split(np.arange(len(values)), most // 2):
        known = stretch[np.isfinite(values[stretch])]
        known = known if len(known) else stretch
        kept += sorted({int(known[np.argmin(values[known])]), int(known[np.argmax(values[known])])})
    return np.array(kept), values[kept]
