"""Faces drawn on an image: contours, eyes, head axes, gaze, boxes and labels, all in proportion."""

import itertools
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from clnf_torch.drawing.canvas import Canvas, drawable
from clnf_torch.drawing.faces import DrawnFaces
from clnf_torch.drawing.style import (
    ALARM,
    AXES,
    FAILED,
    GAZE,
    IRIS,
    Colour,
    DrawingStyle,
    confidence_colour,
    error_colour,
)
from clnf_torch.geometry.landmarks68 import CONTOURS, NUM_LANDMARKS

# Pixels: the lowest capital letters that can be read
SMALLEST_TEXT = 7.0
# Share of a face's extent that the letters of its label take at most: in a crowd they would cover other faces
HIGHEST_LABEL = 0.15
# Pixels of a face's extent: below this lines have no dark edges, which would cover the face
SMALL_FACE = 90.0
# Share of the image's longer side that the widest lines take, whatever the size of a face
WIDEST = 0.02
# Pixels: the thinnest lines, which are transparent
THINNEST = 0.6
# Rings of a 28-point eye: first and last landmark, each about evenly spaced
EYE_RINGS = (slice(0, 8), slice(20, 28))
# Points of a drawn ring
RING_POINTS = 24
# Share of a face's extent that its box is larger on each side
BOX_MARGIN = 0.06


@dataclass(frozen=True)
class _Face:
    """One face, as NumPy arrays in pixels."""

    landmarks: np.ndarray  # (N, 2)
    near: np.ndarray  # (N,) bool
    eyes: np.ndarray | None  # (56, 2)
    axes: np.ndarray | None  # (4, 2)
    gaze: np.ndarray | None  # (2, 2, 2)
    box: np.ndarray  # (2, 2): lower corner, upper corner
    extent: float
    colour: Colour
    label: str
    found: bool
    errors: np.ndarray | None  # (N,) shares of the distance of the outer eye corners


def draw_faces(
    image: Tensor | np.ndarray, faces: DrawnFaces, style: DrawingStyle | None = None, caption: str = ""
) -> np.ndarray:
    """An image with faces drawn on it; the image itself is left as it is.

    The colour of contours and labels is the confidence; that of contours may be the expected error instead. Contours on
    the far side of the head are thin and dashed. A face that was not found is gray and dashed, an image without any
    face that was found is framed and marked "no face".

    Args:
        image: RGB, uint8: a tensor of shape (3, H, W), or an array of shape (H, W, 3).
        faces: The faces, in pixels of the image.
        style: What is drawn, and how large.
        caption: What to write into the lower left corner, such as frame and time.

    Returns:
        RGB, uint8, shape (H, W, 3).

    Raises:
        ValueError: The image has another type or shape.
    """
    style = style or DrawingStyle()
    canvas = Canvas.on(image)
    text = max(SMALLEST_TEXT, style.text_size * min(canvas.size))
    drawn = [face for number in range(len(faces)) if (face := _face(faces, number)) is not None]
    for face in drawn:
        _draw_face(canvas, face, style)
    for face in drawn if style.labels else ():
        low, high = face.box
        size = max(SMALLEST_TEXT, min(text, HIGHEST_LABEL * face.extent))
        above = low[1] > 2 * size
        canvas.label(face.label, (low[0], low[1] if above else high[1] + 2 * size), size, face.colour)
    if style.marks:
        _draw_marks(canvas, bool(faces.found.any()), text, caption)
    return canvas.pixels


def frame_caption(frame: int, seconds: float) -> str:
    """What is written into a video's frame: its number, and its time as minutes and seconds."""
    minutes, rest = divmod(max(seconds, 0.0), 60)
    return f"frame {frame}   {int(minutes)}:{rest:06.3f}"


def _face(faces: DrawnFaces, number: int) -> _Face | None:
    """One of the faces; None where no landmark is known."""
    landmarks = faces.landmarks[number].numpy()
    known = landmarks[drawable(landmarks)]
    if not len(known):
        return None
    low, high = known.min(0), known.max(0)
    extent = float((high - low).max())
    found, confidence = bool(faces.found[number]), float(faces.confidence[number])
    name = faces.names[number] if faces.names else ""
    eyes, axes, gaze = (None if part is None else part[number].numpy() for part in (faces.eyes, faces.axes, faces.gaze))
    return _Face(
        landmarks,
        faces.near[number].numpy(),
        eyes,
        axes,
        gaze,
        np.stack([low - BOX_MARGIN * extent, high + BOX_MARGIN * extent]),
        extent,
        confidence_colour(confidence) if found else FAILED,
        f"{name}  {confidence:.2f}".strip() if found else f"{name}  no face".strip(),
        found,
        None if faces.errors is None else faces.errors[number].numpy(),
    )


def _draw_face(canvas: Canvas, face: _Face, style: DrawingStyle) -> None:
    """Draws a face without its label."""
    width = min(style.line_width * face.extent, WIDEST * max(canvas.size))
    (x0, y0), (x1, y1) = face.box
    box = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])
    if not face.found:
        # Where the fit went astray to
        outlines = (
            [face.landmarks[list(contour)] for contour in CONTOURS] if len(face.landmarks) == NUM_LANDMARKS else []
        )
        canvas.dashes([box, *outlines], face.colour, max(1.0, 0.6 * width))
        return
    edge = 0.35 * width if face.extent >= SMALL_FACE else 0.0
    if style.boxes:
        canvas.lines([box], face.colour, max(THINNEST, width / 2))
    # Under the contours, which it crosses
    if style.axes and face.axes is not None and np.isfinite(face.axes).all():
        for tip, colour in zip(face.axes[1:], AXES, strict=True):
            canvas.arrow(face.axes[0], tip, colour, max(THINNEST, 0.7 * width), edge)
    _draw_contours(canvas, face, style, width, edge)
    if style.eyes and face.eyes is not None:
        rings = [ring(face.eyes[start:][part]) for start in (0, 28) for part in EYE_RINGS]
        canvas.lines(rings, IRIS, max(THINNEST, width / 2))
    if style.gaze and face.gaze is not None and np.isfinite(face.gaze).all():
        for start, end in face.gaze:
            canvas.arrow(start, end, GAZE, max(THINNEST, 0.6 * width), edge)


def _draw_contours(canvas: Canvas, face: _Face, style: DrawingStyle, width: float, edge: float) -> None:
    """Draws the outlines of a face of 68 landmarks, or dots at those of another scheme."""
    if not style.contours or len(face.landmarks) != NUM_LANDMARKS:
        radius = max(1.0, width)
        canvas.dots(face.landmarks[~face.near], FAILED, radius)
        canvas.dots(face.landmarks[face.near], face.colour, radius)
        return
    near, far = [], []
    for contour in CONTOURS:
        pieces = split_by_side(np.array(contour), face.near)
        near += [face.landmarks[piece] for piece, seen in pieces if seen]
        far += [face.landmarks[piece] for piece, seen in pieces if not seen]
    canvas.dashes(far, face.colour, max(THINNEST, 0.6 * width))
    canvas.lines(near, face.colour, max(THINNEST, width), edge)
    if style.quality and face.errors is not None:
        for contour in CONTOURS:
            for start, end in itertools.pairwise(contour):
                if face.near[start] and face.near[end]:
                    colour = error_colour(float(face.errors[[start, end]].mean()))
                    canvas.lines([face.landmarks[[start, end]]], colour, max(THINNEST, width))


def split_by_side(contour: np.ndarray, near: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """A contour (K,) of landmarks as stretches on one side of the head each, with whether that is the near one.

    A step between two landmarks is near where both are.
    """
    seen = near[contour[:-1]] & near[contour[1:]]
    cuts = np.flatnonzero(np.diff(seen)) + 1
    bounds = [0, *cuts.tolist(), len(seen)]
    return [(contour[a : b + 1], bool(seen[a])) for a, b in itertools.pairwise(bounds)]


def ring(points: np.ndarray) -> np.ndarray:
    """The ellipse closest to K points (K, 2) that stand evenly around it, as a closed path."""
    angle = 2 * np.pi * np.arange(len(points)) / len(points)
    waves = np.stack([np.cos(angle), np.sin(angle)])
    center, axes = points.mean(0), 2 / len(points) * waves @ points
    place = np.linspace(0, 2 * np.pi, RING_POINTS + 1)
    return center + np.stack([np.cos(place), np.sin(place)], axis=1) @ axes


def _draw_marks(canvas: Canvas, any_found: bool, text: float, caption: str) -> None:
    """Draws the caption, and that there is no face."""
    if not any_found:
        canvas.frame(ALARM, max(2, round(text / 3)))
        size = max(text, min(1.8 * text, min(canvas.size) / 30))
        canvas.label("no face", (size, 3.5 * size), size, ALARM)
    if caption:
        canvas.label(caption, (0, canvas.size[1]), text, (32, 32, 32))
