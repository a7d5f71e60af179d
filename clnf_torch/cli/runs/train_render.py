"""``clnf-torch train render``: rendered faces with exact labels, to train on."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from clnf_torch.cli.console import failures_exit_with, finishing_first, say
from clnf_torch.cli.progress import counting_bar
from clnf_torch.drawing.canvas import Canvas
from clnf_torch.files.writing import write_atomically
from clnf_torch.geometry.landmarks68 import JAW
from clnf_torch.media.images import jpeg
from clnf_torch.training.synthetic.face_generator import FaceGenerator
from clnf_torch.training.synthetic.face_shards import SHARD_FACES, missing_shards, shard_path, stack_faces, write_shard
from clnf_torch.training.synthetic.labels import RenderedFace

# Faces of a contact sheet, and of each of its rows
SHEET_FACES, SHEET_COLUMNS = 24, 6
# RGB of what is drawn: landmarks that are seen, hidden ones, the jaw's visible contour, iris and pupil
SEEN, HIDDEN, CONTOUR, IRIS = (60, 255, 60), (255, 60, 60), (255, 230, 60), (60, 230, 255)


def render(
    *, output: Path, faces: int, seed: int, side: int, assets: Path | None, part: str, sheet: Path | None
) -> None:
    """Render faces whose landmarks, gaze and pose are known exactly. The same command goes on where it was stopped."""
    settings = {"faces": faces, "seed": seed, "side": side, "assets": int(assets is not None)}
    with failures_exit_with(1), finishing_first() as stop_if_asked:
        left = part_of(missing_shards(output, faces, settings), part)
        if left or sheet:
            generator = FaceGenerator(side, assets)
            with counting_bar(sum(map(len, left)), "faces", stop_if_asked) as done:
                for numbers in left:
                    _make_shard(generator, seed, numbers, shard_path(output, numbers), done)
            if sheet:
                shown = [generator.face(seed, number) for number in range(min(faces, SHEET_FACES))]
                with write_atomically(sheet) as file:
                    file.write(jpeg(contact_sheet(shown)))
        unmade = sum(map(len, missing_shards(output, faces, settings)))
        say(f"{output}: {faces - unmade} of {faces} faces")


def part_of(shards: list[range], part: str) -> list[range]:
    """The files that one of several programs makes: part "I/N".

    Raises:
        ValueError: The part is not two whole numbers with 1 <= I <= N.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"--part {part}: expected I/N with I from 1 to N, such as 2/4")
    return [numbers for numbers in shards if (numbers.start // SHARD_FACES) % int(found[2]) == int(found[1]) - 1]


def _make_shard(generator: FaceGenerator, seed: int, numbers: range, path: Path, done: Callable[[int], None]) -> None:
    """Renders the faces of one file and writes it."""
    rendered: list[RenderedFace] = []
    for number in numbers:
        rendered.append(generator.face(seed, number))
        done(1)
    write_shard(path, stack_faces(rendered))


def contact_sheet(faces: list[RenderedFace]) -> np.ndarray:
    """Faces side by side as (H, W, 3) uint8, every other one with its landmarks, hidden ones in red."""
    side = faces[0].image.shape[-1]
    sheet = np.zeros((-(-len(faces) // SHEET_COLUMNS) * side, SHEET_COLUMNS * side, 3), np.uint8)
    for number, face in enumerate(faces):
        row, column = divmod(number, SHEET_COLUMNS)
        image = face.image.permute(1, 2, 0).contiguous().numpy()
        if (number + row) % 2:
            canvas, labels = Canvas(image), face.labels
            for points, colour in (
                (labels.landmarks[labels.visible], SEEN), (labels.landmarks[~labels.visible], HIDDEN),
                (labels.contour[JAW], CONTOUR), (labels.eyes[labels.eyes_visible], IRIS),
            ):  # fmt: skip
                canvas.dots(points.numpy(), colour, side / 420)
            image = canvas.pixels
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = image
    return sheet
