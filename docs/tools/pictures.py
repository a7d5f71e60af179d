"""Makes the pictures of docs/images of one photograph in the public domain: drawings, plots, a drawn video, a report.

    python docs/tools/pictures.py

The head turns, and a corner of the mouth moves, by a warp with the default model, as in training; the report is
photographed by Chromium.
"""

import csv
import math
import shutil
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from torch import Tensor
from torch.nn import functional

import clnf_torch
from clnf_torch.cli.videos.video_writer import video_file
from clnf_torch.drawing import DrawnFaces, draw_faces
from clnf_torch.geometry.thin_plate import ThinPlate
from clnf_torch.media.images import jpeg, read_image
from clnf_torch.media.video import open_video
from clnf_torch.models.pdm import ShapeParams
from clnf_torch.training.augmentation.pen_marks import draw_pen_marks
from clnf_torch.training.augmentation.pose_warp import WarpedFaces

matplotlib.use("agg")
IMAGES = Path(__file__).resolve().parent.parent / "images"
# Frames of the made-up recording, of which some show no face
FRAMES, LOST, RATE = 120, range(78, 92), 25
# Radians
WIDEST_TURN = 0.38
# Pixels of the astronaut's picture around her face: x, y, side; and how many times as large the recording is
AROUND, ENLARGED = (118, 2, 208), 2
# Drawings of pen marks
DRAWINGS = 4
# Frames of a recording of a smile on one side, how far the corner of the mouth goes out and up, mm, and how far around
# it the skin follows, mm
SMILE_FRAMES, SMILE, SMILE_SPREAD = 75, (-7.0, -5.0), 14.0


def main() -> None:
    """Writes all pictures."""
    detector, faces = clnf_torch.load(), clnf_torch.load_face_detector()
    image = read_image(IMAGES / "astronaut.jpg")
    box = faces.detect(image[None]).boxes[:1]
    with torch.inference_mode():
        fit = detector.fit(image[None], box)
    found = clnf_torch.detect(IMAGES / "astronaut.jpg")
    _write("astronaut_landmarks.jpg", draw_faces(image, DrawnFaces.of(found.fit, table=found.table)))
    _write("aligned.jpg", _aligned(image, fit, detector))
    _write("plot.jpg", _plot())
    _write("pen_marks.jpg", _erased(image, fit, box))
    turned = [_turned(image, fit, detector, WIDEST_TURN * math.sin(2 * math.pi * n / FRAMES)) for n in range(FRAMES)]
    with tempfile.TemporaryDirectory() as folder:
        _record(Path(folder), turned)
        _write("curve.jpg", _curve(Path(folder), [_smiling(image, fit, detector, n) for n in range(SMILE_FRAMES)]))


def _record(folder: Path, turned: list[Tensor]) -> None:
    """Tracks a recording of the turning head, and shows what comes of it."""
    with video_file(folder / "astronaut.mp4", Fraction(RATE)) as video:
        for number, image in enumerate(turned):
            pixels = image.permute(1, 2, 0).numpy()
            video.append(np.full_like(pixels, 60) if number in LOST else pixels)
    out = folder / "processed"
    _run(folder, "clnf-torch", "track", "astronaut.mp4", "--csv", "processed/", "--draw", "processed/")
    _run(folder, "clnf-torch", "report", "processed", "--title", "Recordings of Monday")
    drawn = dict(open_video(out / "astronaut.mp4").images((1, FRAMES // 4, LOST[len(LOST) // 2])))
    _write("track.jpg", np.hstack([image.permute(1, 2, 0).numpy() for image in drawn.values()]))
    browser = shutil.which("chromium") or "chromium"
    flags = "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --window-size=1100,1010"
    _run(folder, browser, *flags.split(), f"--screenshot={folder}/report.png", (out / "report.html").as_uri())
    _write("report.jpg", cv2.imread(str(folder / "report.png"))[..., ::-1])


def _aligned(image: Tensor, fit: clnf_torch.FitResult, detector: clnf_torch.LandmarkDetector) -> np.ndarray:
    """The face as ``-simalign`` writes it, with what is around it and without."""
    both = [
        clnf_torch.align_faces(image[None], fit.landmarks, detector.model.pdm, size=224, scale=1.4, masked=masked)
        for masked in (False, True)
    ]
    return torch.cat(both, dim=-1)[0].round().byte().permute(1, 2, 0).numpy()


def _erased(image: Tensor, fit: clnf_torch.FitResult, box: Tensor) -> np.ndarray:
    """The face with drawings of pen marks, as they come, and below each what the eraser leaves of it."""
    eraser, (x, y, side) = clnf_torch.load_pen_mark_eraser(), AROUND
    columns = []
    for seed in range(1, DRAWINGS + 1):
        drawn = draw_pen_marks(image[None], fit.landmarks, torch.Generator().manual_seed(seed))
        columns.append(torch.cat((drawn, eraser.erase(drawn, box)), dim=2)[0])
    cells = [column[:, half + y : half + y + side, x : x + side] for half in (0, image.shape[1]) for column in columns]
    rows = [torch.cat(cells[:DRAWINGS], dim=2), torch.cat(cells[DRAWINGS:], dim=2)]
    return torch.cat(rows, dim=1).permute(1, 2, 0).numpy()


def _plot() -> np.ndarray:
    """What `Faces.plot` draws."""
    axes = clnf_torch.detect(IMAGES / "astronaut.jpg").plot()
    axes.set(xlim=(110, 330), ylim=(215, 5))
    return _figure(axes)


def _figure(axes: Any) -> np.ndarray:
    """A figure of matplotlib as an image."""
    axes.figure.set_dpi(120)
    axes.figure.canvas.draw()
    return np.asarray(axes.figure.canvas.buffer_rgba())[..., :3]


def _curve(folder: Path, smiling: list[Tensor]) -> np.ndarray:
    """The curve of the tutorial: how far either corner of the mouth goes from where it rests."""
    with video_file(folder / "smile.mp4", Fraction(RATE)) as video:
        for image in smiling:
            video.append(image.permute(1, 2, 0).numpy())
    _run(folder, "clnf-torch", "track", "smile.mp4", "--csv", "smile.csv")
    _run(folder, "clnf-torch", "measure", "smile.csv", "--out", "measures.csv", "--rest", "1:10", "--smooth", "savgol")
    with (folder / "measures.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["success"] == "1"]
    _, axes = pyplot.subplots(figsize=(6, 3), layout="constrained")
    for side in ("left", "right"):
        excursion = [float(row[f"commissure_excursion_image_{side}_mm"]) for row in rows]
        axes.plot([float(row["timestamp"]) for row in rows], excursion, label=f"{side} side of the image")
    axes.set(xlabel="seconds", ylabel="excursion, mm")
    axes.legend()
    return _figure(axes)


def _smiling(image: Tensor, fit: clnf_torch.FitResult, detector: clnf_torch.LandmarkDetector, number: int) -> Tensor:
    """The photograph around the face, with the mouth's corner on the left of the image drawn out and back again."""
    share = max(0.0, math.sin(2 * math.pi * (number - 15) / (SMILE_FRAMES - 15))) if number > 15 else 0.0
    points = detector.model.pdm.points(fit.params.local)[..., :2]
    near = torch.exp(-(points - points[:, 48:49]).square().sum(-1) / (2 * SMILE_SPREAD**2))
    return _warped(image, fit, fit.params, fit.params.scale * share * near[..., None] * torch.tensor(SMILE))


def _turned(image: Tensor, fit: clnf_torch.FitResult, detector: clnf_torch.LandmarkDetector, yaw: float) -> Tensor:
    """The photograph around the face, with the head turned by an angle."""
    pdm, params = detector.model.pdm, fit.params
    rotation = params.rotation + torch.tensor([0.0, yaw, 0.0])
    other = ShapeParams(params.scale, rotation, params.translation, params.local)
    return _warped(image, fit, other, pdm.landmarks(other) - pdm.landmarks(params))


def _warped(image: Tensor, fit: clnf_torch.FitResult, other: ShapeParams, shifts: Tensor) -> Tensor:
    """The photograph around the face, with landmarks moved (1, 68, 2)."""
    # The picture's edges stay
    x, y, side = AROUND
    edge = torch.tensor([[x + a * side / 4, y + b * side / 4] for a in range(5) for b in range(5) if {a, b} & {0, 4}])
    fixed = torch.cat([fit.landmarks + shifts, edge[None]], dim=1)
    plate = ThinPlate.through(fixed, torch.cat([-shifts, torch.zeros_like(edge)[None]], dim=1))
    warped = WarpedFaces(other, fit.landmarks + shifts, plate, fit.landmarks)
    linear, corner = torch.eye(2)[None] / ENLARGED, torch.tensor([[float(x), float(y)]])
    positions, _ = warped.windows(linear, corner, ENLARGED * side)
    size = torch.tensor([image.shape[2], image.shape[1]])
    place = (2 * positions + 1) / size - 1
    found = functional.grid_sample(image[None].float(), place, "bicubic", padding_mode="border", align_corners=False)
    return found[0].round().clamp(0, 255).to(torch.uint8)


def _run(folder: Path, *words: object) -> None:
    """Runs a program in a folder."""
    subprocess.run([str(word) for word in words], check=True, capture_output=True, cwd=folder)


def _write(name: str, pixels: np.ndarray) -> None:
    (IMAGES / name).write_bytes(jpeg(np.ascontiguousarray(pixels), 85))
    print(f"{name}: {pixels.shape[1]} x {pixels.shape[0]}, {(IMAGES / name).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
