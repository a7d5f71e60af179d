"""Landmarks of photographs by MediaPipe's face mesh, which knows what people's lips do; rendered faces hardly show it.

It wants ``pip install mediapipe==0.10.14``, whose networks may be used for anything (Apache 2.0).

Source:
    I. Grishchenko et al., *Attention Mesh: High-fidelity Face Mesh Prediction in Real-time*, 2020.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from clnf_torch.geometry.landmarks68 import BROWS, EYES, JAW, LEFT_EYE, MIRROR, MOUTH, NOSE, NUM_LANDMARKS, RIGHT_EYE
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.training.data.crops import FaceCrops, NoFacesError, mirrored

SOURCE = "landmarks of portraits were drawn to those of MediaPipe's face mesh, of the PyPI package mediapipe 0.10.14"
REMEDY = "MediaPipe's face mesh is not installed: pip install mediapipe==0.10.14"
# Vertices; those without the irises, which move by themselves
VERTICES, STILL = 478, slice(0, 468)
# Landmarks on the edges of lips and lids, and vertices there
ON_EDGES = (
    (range(48, 55), (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)),
    (range(55, 60), (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)),
    (range(60, 65), (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)),
    (range(65, 68), (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)),
    (range(68)[LEFT_EYE], (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)),
    (range(68)[RIGHT_EYE], (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)),
)
# How far a model's landmarks are drawn to the mesh's. On templates held out the mesh is better at lips (0.013 of the
# distance of the eyes, the model 0.018) and lids (0.009, 0.011), as good at brows (0.030, 0.028), and worse at noses
# (0.017, 0.015) and jaws (0.040, 0.025). In drawings of portraits it is right about lips of people who smile, and about
# lids and brows behind glasses
SHARES = ((JAW, 0.2), (BROWS, 1.0), (NOSE, 0.25), (EYES, 1.0), (MOUTH, 1.0))
# Sides of the pictures that the mesh is shown, over those of the crops; what it finds differs by a third of a pixel
ZOOMS = (1.0, 1.4, 1.8)
LEAST_CONFIDENCE = 0.2
_MIRROR = torch.tensor(MIRROR)


class MeshTeacher:
    """Finds 68 landmarks by the vertices of MediaPipe's face mesh.

    Each landmark is a constant offset away from a vertex, in the frame of the mean mesh: from the nearest one in
    templates, for lips and lids from the nearest one on their edges.

    Args:
        templates: Crops with hand-set landmarks, on the CPU.

    Raises:
        ModuleNotFoundError: The package mediapipe is not installed.
        ValueError: No face is found in the templates.
    """

    def __init__(self, templates: FaceCrops) -> None:
        width = templates.gray.shape[-1]
        looks = (templates.gray, templates.gray.flip(-1))
        vertices = torch.cat([mesh_vertices(gray) for gray in looks])
        landmarks = torch.cat((templates.landmarks, mirrored(templates.landmarks, _MIRROR, width))).double()
        found = rows_found(vertices)
        vertices, landmarks = vertices[found], landmarks[found]
        still = vertices[:, STILL]
        self._mean = (still - still.mean(1, keepdim=True)).mean(0)
        self._chosen = _nearest_vertices(landmarks, vertices)
        away = landmarks - vertices[:, self._chosen]
        self._offset = (away @ self._to_mean(vertices).mT).mean(0)

    def landmarks(self, gray: Tensor) -> Tensor:
        """The landmarks of crops, the mean of what each and its mirror image tell.

        Args:
            gray: Shape (F, S, S), uint8.

        Returns:
            Pixels, float32, shape (F, 68, 2); NaN where either shows no face.
        """
        plain, other = (self._landmarks(each.cpu()) for each in (gray, gray.flip(-1)))
        return ((plain + mirrored(other, _MIRROR, gray.shape[-1])) / 2).float().to(gray.device)

    def _landmarks(self, gray: Tensor) -> Tensor:
        """The landmarks (F, 68, 2) of crops as they are, float64."""
        vertices = mesh_vertices(gray)
        return vertices[:, self._chosen] + self._offset @ invert_similarity(self._to_mean(vertices)).mT

    def _to_mean(self, vertices: Tensor) -> Tensor:
        """The scaled rotations (F, 2, 2) of meshes to the mean one."""
        still = vertices[:, STILL]
        return similarity_between(still, self._mean.expand_as(still))


def drawn_to(landmarks: Tensor, taught: Tensor) -> Tensor:
    """Landmarks (F, 68, 2) drawn by `SHARES` to those of a `MeshTeacher`; where these are NaN, as they are."""
    share = landmarks.new_empty(NUM_LANDMARKS, 1)
    for part, value in SHARES:
        share[part] = value
    known = taught.isfinite().flatten(1).all(1)[:, None, None]
    return torch.where(known, landmarks.lerp(taught, share), landmarks)


def mesh_vertices(gray: Tensor) -> Tensor:
    """The vertices of the face in each crop (F, S, S), uint8: pixels, float64, (F, 478, 2); NaN where none is found.

    Raises:
        ModuleNotFoundError: The package mediapipe is not installed.
    """
    found = torch.full((len(gray), len(ZOOMS), VERTICES, 2), torch.nan, dtype=torch.float64)
    for row, crop in enumerate(gray):
        for number, zoom in enumerate(ZOOMS):
            side = round(zoom * crop.shape[-1])
            larger = interpolate(crop[None, None].float(), (side, side), mode="bilinear").round().to(torch.uint8)[0]
            for vertices in mesh_faces(face_mesh(), larger.expand(3, -1, -1)):
                found[row, number] = (vertices + 0.5) * (crop.shape[-1] / side) - 0.5
    return found.mean(1)


def rows_found(points: Tensor) -> Tensor:
    """The templates (F,) in which a face was found, by their points (F, ..., 2), NaN in the others.

    Raises:
        ValueError: There is none.
    """
    found = points.isfinite().flatten(1).all(1)
    if not found.any():
        raise NoFacesError("MediaPipe finds no face in the templates; expected photographs of a face each")
    return found


@cache
def face_mesh(faces: int = 1, least_confidence: float = LEAST_CONFIDENCE, refined: bool = True) -> Any:
    """MediaPipe's face mesh, for pictures of so many faces at most; its networks are loaded once.

    Raises:
        ModuleNotFoundError: The package mediapipe is not installed.
    """
    try:
        from mediapipe import solutions
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(REMEDY, name="mediapipe") from error
    return solutions.face_mesh.FaceMesh(
        static_image_mode=True,
        max_num_faces=faces,
        refine_landmarks=refined,
        min_detection_confidence=least_confidence,
    )


def mesh_faces(mesh: Any, image: Tensor) -> list[Tensor]:
    """The vertices (V, 2) of every face that a mesh of `face_mesh` finds in an RGB image (3, H, W), pixels, float64."""
    extent = torch.tensor(image.shape[:0:-1], dtype=torch.float64)
    answer = mesh.process(image.permute(1, 2, 0).contiguous().numpy())
    return [
        torch.tensor([(point.x, point.y) for point in face.landmark], dtype=torch.float64) * extent
        for face in answer.multi_face_landmarks or ()
    ]


def _nearest_vertices(landmarks: Tensor, vertices: Tensor) -> Tensor:
    """The vertex (68,) nearest to each landmark on average over faces, those of edges among the edges' vertices."""
    size = torch.linalg.vector_norm(landmarks - landmarks.mean(1, keepdim=True), dim=-1).mean(1)
    away = (torch.cdist(landmarks, vertices) / size[:, None, None]).mean(0)
    away[:, STILL.stop :] = torch.inf
    for edge, allowed in ON_EDGES:
        others = torch.ones(VERTICES, dtype=torch.bool)
        others[list(allowed)] = False
        away[torch.tensor(edge)[:, None], others.nonzero()[:, 0]] = torch.inf
    return away.argmin(1)
