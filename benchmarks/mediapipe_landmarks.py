"""``python -m benchmarks.mediapipe_landmarks``: MediaPipe's face mesh as 68 landmarks, plain and behind pen markings.

It wants ``pip install mediapipe==0.10.14``. Of its 468 vertices each landmark gets the one that is nearest to it in
the mean of annotated faces; other annotated faces are measured.
"""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torch.nn.functional import interpolate

from clnf_torch.media.images import read_image
from clnf_torch.training.data.annotations import Annotations, read_annotations
from clnf_torch.training.data.crops import square_around
from clnf_torch.training.evaluation.annotated import Reader, with_pen_marks
from clnf_torch.training.evaluation.metrics import face_errors
from clnf_torch.training.free.mesh_teacher import face_mesh, mesh_faces

# The picture that MediaPipe is shown: so many times the extent of the landmarks, and at least so many pixels wide
MARGIN, LEAST = 1.9, 256
FEWEST_FACES, MOST_FACES, LEAST_CONFIDENCE = 50, 4, 0.3


def main(
    faces: Annotated[Path, typer.Argument(help="Annotated faces, landmarks.npz.")] = Path("../shared/faces"),
    chosen_on: Annotated[str, typer.Option(help="The split that the vertices are chosen on.")] = "helen_train",
    split: Annotated[str, typer.Option(help="The split that is measured.")] = "afw",
    count: Annotated[int, typer.Option(help="Faces to choose on.", min=FEWEST_FACES)] = 400,
) -> None:
    """Mean and median error over the distance of the outer eye corners, of the faces that MediaPipe finds."""
    mesh = face_mesh(MOST_FACES, LEAST_CONFIDENCE, refined=False)
    known, measured = (read_annotations(faces).of_split(name) for name in (chosen_on, split))
    known = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(0))[:count]]
    vertices, found = _found(mesh, known, _reader(known))
    size = (known.landmarks[:, 36] - known.landmarks[:, 45]).norm(dim=1)
    away = torch.cdist(known.landmarks[found].double(), vertices) / size[found, None, None]  # (F, 68, V)
    nearest = away.mean(0).argmin(1)
    for name, read in (
        ("plain", _reader(measured)),
        ("marked", with_pen_marks(_reader(measured), measured.landmarks, seed=0)),
    ):
        vertices, found = _found(mesh, measured, read)
        errors = face_errors(vertices[:, nearest], measured.landmarks[found].double())
        lost = len(measured) - len(found)
        typer.echo(f"{split}, {name}: {errors.mean():.4f} / {errors.median():.4f}, {lost} of {len(measured)} not found")


def _reader(faces: Annotations) -> Reader:
    """Reads the images of annotated faces."""
    return lambda row: read_image(faces.images[row])


def _found(mesh: Any, faces: Annotations, read: Reader) -> tuple[Tensor, Tensor]:
    """Vertices (K, V, 2) of the mesh nearest to each annotated face, pixels, and the rows (K,) of those faces."""
    vertices, rows = [], []
    for row, landmarks in enumerate(faces.landmarks.double()):
        image = read(row)
        left, top, side = square_around(landmarks, MARGIN)
        x, y = max(0, left), max(0, top)
        shown = image[:, y : top + side, x : left + side]
        larger = max(1.0, LEAST / max(shown.shape[1:]))
        if larger > 1:
            size = tuple(round(larger * extent) for extent in shown.shape[1:])
            shown = interpolate(shown[None].float(), size, mode="bilinear").round().to(torch.uint8)[0]
        meshes = [each / larger + torch.tensor([x, y]) for each in mesh_faces(mesh, shown)]
        if meshes:
            vertices.append(min(meshes, key=lambda each: float((each.mean(0) - landmarks.mean(0)).norm())))
            rows.append(row)
    return torch.stack(vertices), torch.tensor(rows)


if __name__ == "__main__":
    typer.run(main)
