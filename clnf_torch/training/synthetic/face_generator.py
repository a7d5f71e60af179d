"""One rendered face after another: each is drawn from its own seed, so that any of them can be made again."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.synthetic.accessories import (
    Wardrobe,
    cloth_texture,
    fingers,
    glasses,
    mask,
    plain,
    read_wardrobe,
    teeth,
)
from clnf_torch.training.synthetic.camera_effects import photographed
from clnf_torch.training.synthetic.eyeball_mesh import ball_vertices, iris_texture, random_iris
from clnf_torch.training.synthetic.eyelids import Eyeball, blink_strokes, place_eyeballs, with_lids_closed
from clnf_torch.training.synthetic.face_mesh import CLOTHES, MOUTH, SKIN, SOCKETS, load_face_mesh, vertex_normals
from clnf_torch.training.synthetic.labels import RenderedFace, eye_landmarks, jaw_paths, label_face
from clnf_torch.training.synthetic.person import Person, gaze_rotation, random_person
from clnf_torch.training.synthetic.renderer import Material, Picture, Renderer, Surface
from clnf_torch.training.synthetic.scene import View, random_background, random_lighting, random_view
from clnf_torch.training.synthetic.skin_texture import SIDE, paint_skin
from clnf_torch.training.synthetic.texture_marks import draw_marks

# Faces of one seed have seeds of their own so far apart
SEED_STEP = 1_000_003
# sRGB of the inside of the mouth and of the corners of the eyes
CAVITY, SOCKET = torch.tensor([0.27, 0.09, 0.09]), torch.tensor([0.77, 0.46, 0.44])
# Shares of faces with glasses, masks, hands, and pen marks
GLASSES, MASKS, HANDS, MARKED = 0.15, 0.03, 0.06, 0.2


class FaceGenerator:
    """Draws faces of one image size."""

    def __init__(self, side: int = 256, assets: Path | None = None) -> None:
        """Loads the mesh and opens the renderer.

        Args:
            side: Of the images, S pixels.
            assets: Folder of MakeHuman's assets, for hair and lashes; without it heads are bald.

        Raises:
            ModuleNotFoundError: A package that is needed is not installed.
            RuntimeError: There is no OpenGL.
            FileNotFoundError: The folder holds no assets.
        """
        self.wardrobe = read_wardrobe(assets) if assets else Wardrobe()
        self.mesh, self.renderer, self.side = load_face_mesh(), Renderer(side), side
        neutral = self.mesh.model.surface(self.mesh.model.base)
        self._paths = jaw_paths(self.mesh, neutral)
        self._strokes = blink_strokes(self.mesh)
        self._landmark_places = self.mesh.landmarks.on(self.mesh.places)

    def face(self, seed: int, number: int) -> RenderedFace:
        """The face of a number in the series of a seed."""
        generator = torch.Generator().manual_seed(seed * SEED_STEP + number)
        sampler = Sampler(generator, torch.device("cpu"))
        mesh, model = self.mesh, self.mesh.model
        person, view = random_person(model, sampler), random_view(sampler, self.side)
        eyes = place_eyeballs(mesh, person.identity, sampler)
        # The head's axes begin between the eyes
        middle = (eyes[0].center + eyes[1].center) / 2
        eyes = (replace(eyes[0], center=eyes[0].center - middle), replace(eyes[1], center=eyes[1].center - middle))
        expression = with_lids_closed(mesh, person, self._strokes)
        base = model.vertices(person.identity + expression) - middle
        surface, iris = model.surface(base), random_iris(sampler)
        parts = self._head(surface, person, sampler) + self._worn(base, surface, sampler, person)
        painted = iris_texture(iris, sampler)
        balls = [_eye(eye, look, painted) for eye, look in zip(eyes, person.gaze, strict=True)]
        picture = self._picture(balls + parts, view, sampler)
        image = photographed(picture.colour + (1 - picture.coverage) * random_background(sampler, self.side), sampler)
        paths = self._paths.on(surface).view(17, -1, 3)
        eye_points = eye_landmarks(mesh, surface, eyes, iris, person.gaze)
        labels = label_face(mesh, surface, eye_points, person.gaze, paths, view, picture.depth)
        return RenderedFace(image=image, labels=labels, depth=picture.depth[::4, ::4].half())

    def _picture(self, parts: list[Surface], view: View, sampler: Sampler) -> Picture:
        """What a camera sees of surfaces in the head's axes, those that are cut out last."""
        parts = [_in_camera(part, view) for part in sorted(parts, key=lambda part: part.material.cutout)]
        head = view.to_camera(torch.tensor([0.0, 30.0, 60.0]))
        return self.renderer.render(parts, random_lighting(sampler), view.focal, view.center, head)

    def _head(self, surface: Tensor, person: Person, sampler: Sampler) -> list[Surface]:
        """Skin, the inside of the mouth, the sockets of the eyes, and clothes."""
        mesh, looks = self.mesh, person.looks
        skin = paint_skin(self._landmark_places, looks, person.age, person.male, sampler)
        if bool(sampler.bernoulli(MARKED)):
            skin[..., :3] = draw_marks(skin[..., :3] / 255, self._landmark_places * SIDE, sampler) * 255
        textures = (skin, plain(CAVITY), plain(SOCKET), cloth_texture(sampler))
        rough = float(sampler.uniform(0.35, 0.6))
        materials = (
            Material(roughness=rough, gloss=0.028, translucency=1 - 0.5 * looks.tone, bump=0.35),
            Material(roughness=0.3),
            Material(roughness=0.25, gloss=0.04, translucency=0.5),
            Material(roughness=0.9, gloss=0.01),
        )
        shared = dict(vertices=surface, normals=vertex_normals(surface, mesh.model.quads), openness=mesh.openness)
        woven = surface[:, :2] / 80
        return [
            Surface(
                **shared,
                places=woven if number == CLOTHES else mesh.places,
                triangles=mesh.triangles[number].int(),
                texture=textures[number],
                material=materials[number],
            )
            for number in (SKIN, MOUTH, SOCKETS, CLOTHES)
        ]

    def _worn(self, base: Tensor, surface: Tensor, sampler: Sampler, person: Person) -> list[Surface]:
        """Teeth, hair, lashes, and sometimes glasses, a mask or a hand."""
        parts = [teeth(self.mesh.model.teeth, base, sampler)]
        rough = Material(roughness=0.45, gloss=0.04, cutout=True)
        if self.wardrobe.hair and not bool(sampler.bernoulli(0.15)):
            hair = self.wardrobe.hair[int(sampler.integers(len(self.wardrobe.hair)))]
            parts.append(hair.surface(base, person.looks.hair, rough))
        if self.wardrobe.lashes and bool(sampler.bernoulli(0.3 if person.male > 0.5 else 0.75)):
            lashes = self.wardrobe.lashes[int(sampler.integers(len(self.wardrobe.lashes)))]
            parts.append(lashes.surface(base, None, Material(roughness=0.9, gloss=0.0, cutout=True)))
        if bool(sampler.bernoulli(GLASSES)):
            parts += glasses(self.mesh.landmarks.on(surface), sampler)
        if bool(sampler.bernoulli(MASKS)):
            parts.append(mask(self.mesh, surface, sampler))
        if bool(sampler.bernoulli(HANDS)):
            parts += fingers(self.mesh.landmarks.on(surface), person.looks.skin, sampler)
        return parts


def _eye(eye: Eyeball, gaze: Tensor, texture: Tensor) -> Surface:
    vertices, normals, places, triangles = ball_vertices(eye, gaze_rotation(gaze))
    return Surface(
        vertices=vertices,
        normals=normals,
        places=places,
        triangles=triangles.int(),
        texture=texture,
        material=Material(roughness=0.12, gloss=0.04),
        openness=torch.full((len(vertices),), 0.6),
    )


def _in_camera(surface: Surface, view: View) -> Surface:
    return replace(surface, vertices=view.to_camera(surface.vertices), normals=surface.normals @ view.rotation.T)
