"""Draws where the landmarks lie on the mesh of rendered faces: ``python docs/tools/rendered_landmarks.py OUT.jpg``."""

import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clnf_torch.drawing.canvas import Canvas
from clnf_torch.geometry.landmarks68 import JAW
from clnf_torch.media.images import jpeg
from clnf_torch.training.synthetic.accessories import plain
from clnf_torch.training.synthetic.face_mesh import FaceMesh, load_face_mesh, vertex_normals
from clnf_torch.training.synthetic.head_model import rotation_about
from clnf_torch.training.synthetic.labels import jaw_paths, visible_contour
from clnf_torch.training.synthetic.proportions import mean_identity
from clnf_torch.training.synthetic.renderer import Lighting, Material, Renderer, Surface
from clnf_torch.training.synthetic.scene import View

SIDE, FOCAL, DISTANCE = 400, 2300.0, 1200.0
# Below the lids, between them: the middle of what is shown, mm
MIDDLE = torch.tensor([0.0, -690.0, -85.0])
YAWS = (0.0, -0.4, -0.8, -1.45)
EXPRESSIONS: tuple[dict[str, float], ...] = (
    {},
    {"expression/jawOpen": 0.8, "expression/mouthSmileLeft": 0.6, "expression/mouthSmileRight": 0.6,
     "expression/eyeBlinkLeft": 0.7, "expression/eyeBlinkRight": 0.7},
)  # fmt: skip


def main(out: Path) -> None:
    """Two rows of clay heads, neutral and with an expression, turned further from left to right."""
    mesh, renderer = load_face_mesh(), Renderer(SIDE)
    rows = [np.concatenate([picture(mesh, renderer, chosen, yaw) for yaw in YAWS], 1) for chosen in EXPRESSIONS]
    out.write_bytes(jpeg(np.concatenate(rows), 85))


def picture(mesh: FaceMesh, renderer: Renderer, expression: dict[str, float], yaw: float) -> np.ndarray:
    """A clay head with the 68 landmarks in green, those of the lids in blue, the visible contour in yellow."""
    model = mesh.model
    neutral = model.surface(model.base)
    chosen = {**mean_identity(model.names), **expression}
    surface = model.surface(model.vertices(model.weights(chosen))) - MIDDLE
    view = View(
        rotation=rotation_about(1, yaw),
        translation=torch.tensor([0.0, 0, DISTANCE]),
        focal=FOCAL,
        center=torch.full((2,), (SIDE - 1) / 2),
    )
    seen = renderer.render(clay(mesh, surface, view), studio(), FOCAL, view.center, view.translation)
    canvas = Canvas.on((seen.colour.clamp(0, 1) * 255).to(torch.uint8))
    contour = visible_contour(jaw_paths(mesh, neutral).on(surface).view(17, -1, 3), view)
    canvas.dots(view.to_image(mesh.landmarks.on(surface)).numpy(), (40, 220, 40), 2.2)
    canvas.dots(view.to_image(surface[mesh.lids].view(-1, 3)).numpy(), (40, 160, 255), 1.4)
    canvas.dots(contour[JAW].numpy(), (255, 220, 40), 1.8)
    return canvas.pixels


def clay(mesh: FaceMesh, surface: Tensor, view: View) -> list[Surface]:
    """The skin, the inside of the mouth and the sockets in plain colours, in the camera's axes."""
    normals = vertex_normals(surface, mesh.model.quads) @ view.rotation.T
    colours = ([0.75, 0.68, 0.62], [0.35, 0.1, 0.1], [0.5, 0.3, 0.3], [0.4, 0.45, 0.5])
    return [
        Surface(
            vertices=view.to_camera(surface),
            normals=normals,
            places=mesh.places,
            triangles=triangles.int(),
            texture=plain(torch.tensor(colour)),
            material=Material(roughness=0.6),
            openness=mesh.openness,
        )
        for triangles, colour in zip(mesh.triangles, colours, strict=True)
    ]


def studio() -> Lighting:
    """A lamp from above on the left, a weaker one on the right, and light from around."""
    turn = torch.tensor([-0.6, 1.0, math.pi])
    directions = torch.stack((turn.sin(), torch.full((3,), -0.5), -turn.cos()), 1)
    harmonics = torch.zeros(9, 3)
    harmonics[0] = 0.4
    strength = torch.tensor([0.9, 0.3, 0.1])[:, None].expand(3, 3)
    return Lighting(directions=directions / directions.norm(dim=1, keepdim=True), colours=strength, harmonics=harmonics)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
