"""One rendered face after another: each is drawn from its own seed, so that any of them can be made again."""

from dataclasses import replace

import torch
from torch import Tensor

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.synthetic.camera_effects import photographed
from clnf_torch.training.synthetic.eyeball_mesh import ball_vertices, iris_texture, random_iris
from clnf_torch.training.synthetic.face_mesh import load_face_mesh, vertex_normals
from clnf_torch.training.synthetic.head_model import Eyeball, eyeballs
from clnf_torch.training.synthetic.labels import RenderedFace, eye_landmarks, jaw_paths, label_face
from clnf_torch.training.synthetic.person import Person, gaze_rotation, random_person
from clnf_torch.training.synthetic.renderer import Material, Renderer, Surface
from clnf_torch.training.synthetic.scene import View, random_background, random_lighting, random_view
from clnf_torch.training.synthetic.skin_texture import paint_skin, random_looks

# Faces of one seed have seeds of their own so far apart
SEED_STEP = 1_000_003
CAVITY, SOCKET = (70, 22, 22), (196, 118, 112)


class FaceGenerator:
    """Draws faces of one image size."""

    def __init__(self, side: int = 256) -> None:
        """Loads the mesh and opens the renderer.

        Args:
            side: Of the images, S pixels.

        Raises:
            ModuleNotFoundError: A package that is needed is not installed.
            RuntimeError: There is no OpenGL.
        """
        self.mesh, self.renderer, self.side = load_face_mesh(), Renderer(side), side
        neutral = self.mesh.model.surface(self.mesh.model.base)
        self._paths = jaw_paths(self.mesh, neutral)
        self._landmark_places = self.mesh.landmarks.on(self.mesh.places)

    def face(self, seed: int, number: int) -> RenderedFace:
        """The face of a number in the series of a seed."""
        generator = torch.Generator().manual_seed(seed * SEED_STEP + number)
        sampler = Sampler(generator, torch.device("cpu"))
        mesh, model = self.mesh, self.mesh.model
        person, view = random_person(model, sampler), random_view(sampler, self.side)
        relaxed = model.vertices(person.identity)
        eyes = eyeballs(model, relaxed)
        middle = (eyes[0].center + eyes[1].center) / 2
        eyes = (replace(eyes[0], center=eyes[0].center - middle), replace(eyes[1], center=eyes[1].center - middle))
        base = model.vertices(person.identity + person.expression) - middle
        surface = model.surface(base)
        iris = random_iris(sampler)
        surfaces = self._skin(surface, person, sampler) + [
            _eye(eye, look, iris_texture(iris, Sampler(generator, sampler.device)))
            for eye, look in zip(eyes, person.gaze, strict=True)
        ]
        surfaces = [_in_camera(part, view) for part in surfaces]
        lighting, head = random_lighting(sampler), view.to_camera(torch.tensor([0.0, 30.0, 60.0]))
        picture = self.renderer.render(surfaces, lighting, view.focal, view.center, head)
        behind = random_background(sampler, self.side)
        image = photographed(picture.colour + (1 - picture.coverage) * behind, sampler)
        paths = self._paths.on(surface).view(17, -1, 3)
        eye_points = eye_landmarks(mesh, surface, eyes, iris, person.gaze)
        labels = label_face(mesh, surface, eye_points, person.gaze, paths, view, picture.depth)
        return RenderedFace(image=image, labels=labels, depth=picture.depth[::4, ::4].half())

    def _skin(self, surface: Tensor, person: Person, sampler: Sampler) -> list[Surface]:
        """The head's skin, the inside of its mouth and the sockets of its eyes."""
        mesh = self.mesh
        looks = random_looks(sampler, person.age)
        skin = paint_skin(self._landmark_places, looks, person.age, person.male, sampler)
        textures = (skin, _plain(CAVITY), _plain(SOCKET))
        shine = Material(
            roughness=float(sampler.uniform(0.35, 0.6)), gloss=0.028, translucency=1 - 0.5 * looks.tone, bump=0.35
        )
        materials = (shine, Material(roughness=0.3), Material(roughness=0.25, gloss=0.04, translucency=0.5))
        normals = vertex_normals(surface, mesh.model.quads)
        return [
            Surface(
                vertices=surface,
                normals=normals,
                places=mesh.places,
                triangles=triangles.int(),
                texture=texture,
                material=material,
            )
            for triangles, texture, material in zip(mesh.triangles, textures, materials, strict=True)
        ]


def _eye(eye: Eyeball, gaze: Tensor, texture: Tensor) -> Surface:
    vertices, normals, places, triangles = ball_vertices(eye, gaze_rotation(gaze))
    return Surface(
        vertices=vertices,
        normals=normals,
        places=places,
        triangles=triangles.int(),
        texture=texture,
        material=Material(roughness=0.12, gloss=0.04),
        openness=torch.full((len(vertices),), 0.75),
    )


def _in_camera(surface: Surface, view: View) -> Surface:
    return replace(surface, vertices=view.to_camera(surface.vertices), normals=surface.normals @ view.rotation.T)


def _plain(colour: tuple[int, int, int]) -> Tensor:
    return torch.tensor([*colour, 255], dtype=torch.uint8).expand(4, 4, 4)
