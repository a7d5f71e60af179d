"""Images in and out: the one file that imports OpenCV."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from clnf_torch.models.files import write_atomically

# BGR: landmarks that experts saw on a face, and all others
SEEN, HIDDEN = (80, 255, 80), (80, 160, 255)
# BGR
EYE, NAME = (255, 200, 60), (255, 255, 255)
# Fractional bits of the positions that OpenCV draws at
SUBPIXEL = 4

# An image that cannot be decoded is reported by us, once.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class ImageError(ValueError):
    """An image that cannot be read; its text is one line."""


def read_image(path: Path) -> Tensor:
    """An image as RGB, uint8, shape (3, H, W).

    Gray images come with three equal channels, from which OpenFace's gray is the same again. Sixteen bits are cut to
    the upper eight, transparency is dropped, and a photograph is turned upright as its EXIF orientation says, so boxes
    and landmarks belong to the image as it is shown.

    Args:
        path: Any format that OpenCV decodes.

    Raises:
        ImageError: It cannot be read or decoded.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    except cv2.error as error:
        raise ImageError(f"{path}: cannot be decoded: {error.err}") from error
    if image is None:
        raise ImageError(f"{path}: expected an image, found {'an empty file' if not content else 'something else'}")
    return torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)))


def draw_landmarks(image: Tensor, landmarks: Tensor, visible: Tensor, eyes: Tensor | None = None) -> np.ndarray:
    """An image with dots at the landmarks.

    Args:
        image: RGB, uint8, shape (3, H, W).
        landmarks: Pixels (x, y), shape (B, N, 2); those that are not finite or lie outside are left out.
        visible: Which of them have experts in their face's view, bool, shape (B, N).
        eyes: Landmarks of the eyes, pixels, shape (B, E, 2); drawn with smaller dots.

    Returns:
        BGR, uint8, shape (H, W, 3), as OpenCV writes it.
    """
    canvas = np.ascontiguousarray(image.permute(1, 2, 0).numpy()[:, :, ::-1])
    for face, points in enumerate(eyes if eyes is not None else ()):
        _draw_dots(canvas, points[_inside(points, canvas)].tolist(), EYE, 0.4 * _radius(landmarks[face]))
    for points, seen in zip(landmarks, visible, strict=True):
        inside = _inside(points, canvas)
        _draw_dots(canvas, points[inside & ~seen].tolist(), HIDDEN, _radius(points))
        _draw_dots(canvas, points[inside & seen].tolist(), SEEN, _radius(points))
    return canvas


def write_names(canvas: np.ndarray, landmarks: Tensor, names: Sequence[str]) -> None:
    """Writes names above faces, into the canvas.

    Args:
        canvas: BGR, uint8, shape (H, W, 3).
        landmarks: Pixels (x, y), shape (B, N, 2).
        names: One for each face.
    """
    for points, name in zip(landmarks, names, strict=True):
        known = points[points.isfinite().all(-1)].clamp(-1e4, 1e4)
        if len(known):
            x, y = known.amin(0).round().int().tolist()
            size = max(0.4, 0.3 * _radius(points))
            cv2.putText(canvas, name, (x, y - 6), cv2.FONT_HERSHEY_SIMPLEX, size, NAME, 1, cv2.LINE_AA)


def write_png(path: Path, canvas: np.ndarray) -> None:
    """Writes a BGR image as PNG, under its name only when it is complete."""
    _, content = cv2.imencode(".png", canvas)
    with write_atomically(path) as file:
        file.write(content.tobytes())


def _draw_dots(canvas: np.ndarray, points: list[list[float]], colour: tuple[int, int, int], radius: float) -> None:
    """Draws smooth dots of a radius in pixels."""
    unit = 1 << SUBPIXEL
    for x, y in points:
        center = round(x * unit), round(y * unit)
        cv2.circle(canvas, center, round(radius * unit), colour, cv2.FILLED, cv2.LINE_AA, SUBPIXEL)


def _inside(points: Tensor, canvas: np.ndarray) -> Tensor:
    """Points (N, 2) that lie on a canvas (H, W, 3); those that are not finite do not."""
    return ((points >= 0) & (points < torch.tensor([canvas.shape[1], canvas.shape[0]]))).all(-1)


def _radius(points: Tensor) -> float:
    """A dot's radius that suits the size of a face (N, 2), pixels."""
    known = points[points.isfinite().all(-1)]
    extent = float((known.amax(0) - known.amin(0)).amax()) if len(known) else 0.0
    return min(max(1.0, 0.008 * extent), 12.0)
