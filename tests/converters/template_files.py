"""Small CCNF and SVR files for tests, kept in named pieces so that a test can damage one of them."""

from __future__ import annotations

import struct

import numpy as np

from tests.converters.openface_files import POINTS, SUPPORT, UNSEEN, VIEWS, Pieces, matrix

NEURONS, WINDOWS = 2, (3, 5)  # windows with components of Sigma; 7 is listed without
YAWS = (0.0, -30.0, 30.0)


def seen(view: int, landmark: int) -> bool:
    """Whether a view shows a landmark."""
    return view != 1 or landmark != UNSEEN


def visibility(view: int) -> np.ndarray:
    """A view's column of 0 and 1."""
    return np.array([[seen(view, landmark)] for landmark in range(POINTS)], "<i4")


def components(window: int) -> np.ndarray:
    """Two symmetric relations between the cells of a window, (2, window ** 2, window ** 2) float32."""
    roots = np.random.default_rng(window).normal(size=(2, window**2, 3))
    return (roots @ roots.swapaxes(1, 2)).astype("<f4")


def ccnf_pieces(*, scale: float = 0.25, seed: int = 0, betas: int = 2) -> Pieces:
    """A CCNF file of 3 views and 5 landmarks, one of them unseen in one view.

    Args:
        scale: The patch scaling.
        seed: Of the random numbers.
        betas: Number of components of each window, 0 or 2.
    """
    rng = np.random.default_rng(seed)
    pieces = {"scale": struct.pack("<d", scale), "views": struct.pack("<i", VIEWS)}
    pieces |= {f"center {view}": matrix(np.array([[0.0], [yaw], [0.0]])) for view, yaw in enumerate(YAWS)}
    pieces |= {f"visible {view}": matrix(visibility(view)) for view in range(VIEWS)}
    pieces["windows"] = struct.pack("<i", 3)
    for window in (*WINDOWS, 7):
        count = betas if window in WINDOWS else 0
        pieces[f"window {window}"] = struct.pack("<2i", window, count)
        for k in range(count):
            pieces[f"component {window} {k}"] = matrix(components(window)[k])
    for view, landmark in np.ndindex(VIEWS, POINTS):
        pieces |= _ccnf_expert(f"{view},{landmark}", rng, NEURONS if seen(view, landmark) else 0, betas)
    return pieces


def _ccnf_expert(name: str, rng: np.random.Generator, neurons: int, betas: int) -> Pieces:
    """One expert; without neurons it ends with a 0."""
    pieces = {f"marker {name}": struct.pack("<i", 5), f"size {name}": struct.pack("<2i", SUPPORT, SUPPORT)}
    pieces[f"neurons {name}"] = struct.pack("<i", neurons)
    if not neurons:
        return pieces | {f"filler {name}": struct.pack("<i", 0)}
    for k in range(neurons):
        pieces[f"kind {name} {k}"] = struct.pack("<2i", 2, 0)
        pieces[f"numbers {name} {k}"] = struct.pack("<3d", *(0.5 + rng.random(3)))
        pieces[f"weight {name} {k}"] = matrix(rng.normal(size=(SUPPORT, SUPPORT)).astype("<f4"))
    pieces[f"betas {name}"] = struct.pack(f"<{betas}d", *rng.random(betas))
    pieces[f"confidence {name}"] = struct.pack("<d", rng.random())
    return pieces


def svr_lines(*, scale: float = 0.25, seed: int = 0) -> dict[str, str]:
    """The lines of an SVR file of 3 views and 5 landmarks by name, without their ends."""
    rng = np.random.default_rng(seed)
    lines = {"title": "# scaling factor", "scale": f"{scale:f}", "count": "# views", "views": str(VIEWS)}
    lines["centers"] = "# centers"
    lines |= {f"center {view}": f"3\n1\n6\n0.0 \n{yaw} \n-0.0 " for view, yaw in enumerate(YAWS)}
    lines["visibilities"] = "# visibility"
    for view in range(VIEWS):
        lines[f"visible {view}"] = f"{POINTS}\n1\n4\n" + "\n".join(f"{int(row[0])} " for row in visibility(view))
    lines["patches"] = "# Patches themselves"
    for view, landmark in np.ndindex(VIEWS, POINTS):
        name, unit = f"{view},{landmark}", int(seen(view, landmark))
        lines[f"raw {name}"] = f"3 {SUPPORT} {SUPPORT} 2 " + _match(rng, 0, unit)
        lines[f"gradient {name}"] = _match(rng, 1, unit)
    return lines


def _match(rng: np.random.Generator, modality: int, unit: int) -> str:
    """A modality: marker, type, confidence, scaling, bias, matrix; all zeros where the landmark is not seen."""
    numbers = unit * rng.random(3) * (0.5, 9.0, -5.0)
    weights = unit * rng.normal(size=SUPPORT**2)
    words = (f"{value:.6f}" for value in (*numbers, *weights))
    confidence, scaling, bias, *rest = words
    return f"2 {modality} {confidence} {scaling} {bias} {SUPPORT} {SUPPORT} 5 {' '.join(rest)} "


def text(lines: dict[str, str]) -> bytes:
    """The file of these lines."""
    return "".join(f"{line}\n" for line in lines.values()).encode()
