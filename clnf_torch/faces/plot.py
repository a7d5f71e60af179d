"""Faces as drawings: with matplotlib on axes of a caller's own, or as the PNG file that the command line writes."""

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from clnf_torch.drawing import DrawnFaces, confidence_colour, draw_faces
from clnf_torch.drawing.style import AXES, FAILED, GAZE, Colour
from clnf_torch.files.writing import write_atomically
from clnf_torch.geometry.landmarks68 import CONTOURS, NUM_LANDMARKS
from clnf_torch.media.images import write_image

if TYPE_CHECKING:
    from clnf_torch.faces.face_track import FaceTrack
    from clnf_torch.faces.faces import _FacesOfImages

# Images of a figure: beyond this they are too small to be looked at
MOST_IMAGES = 64
# Inches of a place in a figure
PLACE = 4.0
# Points: width of contours, and of the arrows and axes
CONTOUR, ARROW = 1.2, 2.0


def save_drawing(record: Any, path: Path) -> None:
    """Writes the faces of one image, drawn on it as ``clnf-torch detect --draw`` does; of a video its plot.

    Raises:
        ValueError: The faces are not those of one image that is known.
        RuntimeError: A plot is asked for, and matplotlib is not installed.
    """
    pictured: tuple[int, ...] | None = getattr(record, "_pictured", None)
    if pictured is None:
        figure = plot_track(record)[0].figure
        with write_atomically(path) as file:
            figure.savefig(file, format="png")
        _pyplot().close(figure)
        return
    if len(pictured) != 1:
        found = f"those of {len(pictured)} images"
        raise ValueError(f"{path}: a drawing shows the faces of one image, found {found}; save in_image(number) alone")
    source = record.sources[pictured[0]]
    if source.image is None:
        raise ValueError(f"{path}: the pixels of {source.name} are not kept; save frames of track(stream=True)")
    write_image(path, draw_faces(source.pixels(), DrawnFaces.of(record.fit, table=record.table)))


def plot_faces(record: "_FacesOfImages", axes: Any = None) -> Any:
    """Draws faces on their images; see `Faces.plot`."""
    pictured = record._pictured
    count = len(pictured)
    if axes is not None:
        if count != 1:
            raise ValueError(f"axes show one image, found the faces of {count}; plot in_image(number) alone")
        _plot_image(axes, record, pictured[0])
        return axes
    if count > MOST_IMAGES:
        raise ValueError(f"a figure shows at most {MOST_IMAGES} images, found {count}; plot in_image(number) alone")
    columns = math.ceil(math.sqrt(max(count, 1)))
    rows = math.ceil(max(count, 1) / columns)
    figure, places = _pyplot().subplots(rows, columns, squeeze=False, figsize=(PLACE * columns, PLACE * rows))
    for number, place in enumerate(places.flat):
        place.set_axis_off()
        if number < count:
            _plot_image(place, record, pictured[number])
    figure.tight_layout()
    return places[0, 0] if count == 1 else places


def plot_track(track: "FaceTrack", axes: Any = None) -> Any:
    """Draws confidence and head rotation over time; see `FaceTrack.plot`."""
    if axes is None:
        figure, axes = _pyplot().subplots(2, 1, sharex=True, figsize=(2 * PLACE, PLACE))
        figure.tight_layout()
    upper, lower = axes
    for number in track.face_ids:
        face = track.face(number)
        time, found = face.timestamp.cpu().numpy(), face.success.cpu().numpy()
        upper.plot(time, face.confidence.cpu().numpy(), label=f"face {number}")
        angles = np.degrees(face.pose[:, 3:].cpu().numpy())
        for angle, name, style in zip(angles.T, ("pitch", "yaw", "roll"), ("-", "--", ":"), strict=True):
            lower.plot(time, np.where(found, angle, np.nan), style, label=f"{name} {number}")
    upper.set(ylabel="confidence", ylim=(0, 1.05))
    lower.set(ylabel="head rotation, degrees", xlabel="seconds")
    if track.face_ids:
        lower.legend(loc="upper right", fontsize="small", ncols=len(track.face_ids))
    return axes


def _pyplot() -> Any:
    """Matplotlib's figures, loaded only now."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise RuntimeError("plots need matplotlib; install it with: pip install 'clnf-torch[plot]'") from error
    return pyplot


def _plot_image(axes: Any, record: "_FacesOfImages", number: int) -> None:
    """Draws an image of a number with its faces."""
    rows = (record.image_index == number).nonzero().squeeze(1)
    faces = DrawnFaces.of(record.fit[rows], table=record.table[rows.tolist()])
    source = record.sources[number]
    if source.image is not None:
        axes.imshow(source.pixels().permute(1, 2, 0).cpu().numpy())
    else:
        axes.set_aspect("equal")
        axes.invert_yaxis()
    axes.set_title(f"{Path(source.name).name}{'' if len(faces) else ': no face'}", fontsize="small")
    for face in range(len(faces)):
        _plot_face(axes, faces, face)


def _plot_face(axes: Any, faces: DrawnFaces, number: int) -> None:
    """Draws contours in the colour of the confidence, those of the far side dotted, head axes, and gaze."""
    landmarks, near = faces.landmarks[number].numpy(), faces.near[number].numpy()
    colour = _plain(confidence_colour(float(faces.confidence[number])) if faces.found[number] else FAILED)
    if len(landmarks) == NUM_LANDMARKS:
        for contour in CONTOURS:
            for start, end in pairwise(contour):
                style = "-" if near[start] and near[end] else ":"
                axes.plot(*landmarks[[start, end]].T, style, color=colour, linewidth=CONTOUR)
    else:
        axes.plot(*landmarks.T, ".", color=colour)
    if faces.axes is not None:
        center, *tips = faces.axes[number]
        for tip, axis in zip(tips, AXES, strict=True):
            _arrow(axes, center, tip, axis)
    for start, end in () if faces.gaze is None else faces.gaze[number]:
        _arrow(axes, start, end, GAZE)


def _arrow(axes: Any, start: Tensor, end: Tensor, colour: Colour) -> None:
    """Draws an arrow between two places, pixels."""
    if bool(torch.stack((start, end)).isfinite().all()):
        arrow = {"arrowstyle": "->", "color": _plain(colour), "linewidth": ARROW}
        axes.annotate("", end.tolist(), start.tolist(), arrowprops=arrow)


def _plain(colour: Colour) -> tuple[float, ...]:
    """A colour as matplotlib takes it."""
    return tuple(value / 255 for value in colour)
