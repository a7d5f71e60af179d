"""What is known exactly of a rendered face: landmarks in the image and in space, their visibility, gaze and pose."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from clnf_torch.geometry.landmarks68 import JAW
from clnf_torch.training.synthetic.eyeball_mesh import IRIS_ANGLES, PUPIL_ANGLES, Iris, ring_points
from clnf_torch.training.synthetic.eyelids import Eyeball
from clnf_torch.training.synthetic.face_mesh import BOTTOM, TOP, FaceMesh
from clnf_torch.training.synthetic.person import gaze_rotation, gaze_vector
from clnf_torch.training.synthetic.renderer import SUPERSAMPLING
from clnf_torch.training.synthetic.scene import View
from clnf_torch.training.synthetic.subdivision import SurfacePoints

# Steps of each path over the cheek along which the visible contour is looked for
STEPS = 14
# How far inwards the paths of the jaw go, as share of their angle around the head; those at the chin rise so far, mm
INWARDS, RISE = 0.35, 22.0
# A point is hidden where the image is nearer by more than this, mm: landmarks of the face, and of the eyes
FACE_SLACK, EYE_SLACK = 4.0, 1.2


@dataclass(frozen=True, kw_only=True)
class FaceLabels:
    """The labels of one face. Pixels (x, y) are whole at the middle of pixels and begin at 0."""

    landmarks: Tensor  # (68, 2) px of the 3D landmarks
    contour: Tensor  # (68, 2) px: the jaw on the visible contour of the head instead, as annotators set it
    points: Tensor  # (68, 3) mm in the camera's axes
    visible: Tensor  # (68,) bool, of the 3D landmarks
    eyes: Tensor  # (2, 28, 2) px, OpenFace's order, the eye further left in images first
    eye_points: Tensor  # (2, 28, 3) mm in the camera's axes
    eyes_visible: Tensor  # (2, 28) bool
    gaze: Tensor  # (2, 3) unit vectors from the eyeballs in the camera's axes
    rotation: Tensor  # (3, 3) of the head in the camera's axes
    translation: Tensor  # (3,) mm, of the middle between the eyeballs
    camera: Tensor  # (3,) focal length and principal point, px


@dataclass(frozen=True, kw_only=True)
class RenderedFace:
    """An image and all that is known of it."""

    image: Tensor  # (3, S, S) uint8 RGB
    labels: FaceLabels
    depth: Tensor  # (S / 2, S / 2) float16 mm, infinite behind the head


def jaw_paths(mesh: FaceMesh, surface: Tensor) -> SurfacePoints:
    """Paths of STEPS points each from the jaw's 17 landmarks inwards over a surface (S, 3), one after another."""
    start, points = mesh.landmarks.on(mesh.places)[JAW], mesh.landmarks.on(surface)
    rise = _chin_share() * RISE / (BOTTOM - TOP)
    end = torch.stack((0.5 + INWARDS * (start[:, 0] - 0.5), start[:, 1] - rise), 1)
    corners, shares = [], []
    for landmark in range(17):
        here = points[landmark]
        for share in torch.linspace(0, 1, STEPS):
            place = torch.lerp(start[landmark], end[landmark], share)
            triangle, weights = skin_at(place, here, mesh, surface)
            here = weights @ surface[triangle]
            corners.append(triangle)
            shares.append(weights)
    return SurfacePoints(vertices=torch.stack(corners), shares=torch.stack(shares))


def _chin_share() -> Tensor:
    """How far each landmark of the jaw (17,) belongs to the chin: 0 at the ears to 1 in the middle."""
    number = torch.arange(17)
    return ((5 - (number - 8).abs()) / 5).clamp(0, 1)


def skin_at(place: Tensor, near: Tensor, mesh: FaceMesh, surface: Tensor) -> tuple[Tensor, Tensor]:
    """The triangle (3,) of the skin at a place (2,) of the texture, of several that nearest to (3,), and shares."""
    triangles = mesh.triangles[0]
    first, second, third = mesh.places[triangles].unbind(1)
    ahead, aside, away = second - first, third - first, place - first
    area = ahead[:, 0] * aside[:, 1] - ahead[:, 1] * aside[:, 0]
    of_second = (away[:, 0] * aside[:, 1] - away[:, 1] * aside[:, 0]) / area
    of_third = (ahead[:, 0] * away[:, 1] - ahead[:, 1] * away[:, 0]) / area
    shares = torch.stack((1 - of_second - of_third, of_second, of_third), 1)
    outside = -shares.amin(1).clamp_max(0).nan_to_num(-1e6)
    distance = (surface[triangles].mean(1) - near).norm(dim=1)
    best = int((distance + 1e4 * (outside > 1e-4) * (1 + outside)).argmin())
    weights = shares[best].clamp(0, 1)
    return triangles[best], weights / weights.sum()


def visible_contour(paths: Tensor, view: View) -> Tensor:
    """The jaw's landmarks (17, 2) px where the head's outline is seen, from paths (17, STEPS, 3) in the head's axes.

    Of each path the point furthest outwards in the image is taken: sideways at the ears, down at the chin.
    """
    seen = view.to_image(paths)
    down = view.rotation[:2, 1] / view.rotation[:2, 1].norm().clamp_min(1e-6)
    right = torch.stack((down[1], -down[0]))
    angle = _chin_share() * math.pi / 2
    side = torch.sign(torch.arange(17) - 8.0)
    outwards = (side * angle.cos())[:, None] * right + angle.sin()[:, None] * down
    furthest = (seen * outwards[:, None]).sum(-1).argmax(1)
    return seen[torch.arange(17), furthest]


def eye_landmarks(mesh: FaceMesh, surface: Tensor, eyes: tuple[Eyeball, Eyeball], iris: Iris, gaze: Tensor) -> Tensor:
    """The landmarks (2, 28, 3) of both eyes in the head's axes: iris, lids, pupil."""
    found = []
    for eye, lids, look in zip(eyes, mesh.lids, gaze, strict=True):
        rotation = gaze_rotation(look)
        rings = [ring_points(eye, rotation, *ring) for ring in ((iris.edge, IRIS_ANGLES), (iris.pupil, PUPIL_ANGLES))]
        found.append(torch.cat((rings[0], surface[lids], rings[1])))
    return torch.stack(found)


def seen_points(points: Tensor, pixels: Tensor, depth: Tensor, slack: float) -> Tensor:
    """Which points (N, 3) of the camera's axes, seen at pixels (N, 2), are not behind what was drawn, (R, R) mm."""
    furthest = max_pool2d(depth.clamp_max(1e9)[None, None], 3, 1, 1)[0, 0]
    place = ((pixels + 0.5) * SUPERSAMPLING - 0.5).round().long()
    inside = ((place >= 0) & (place < len(depth))).all(1)
    x, y = place.clamp(0, len(depth) - 1).unbind(1)
    return inside & (points[:, 2] <= furthest[y, x] + slack)


def label_face(
    mesh: FaceMesh, surface: Tensor, eye_points: Tensor, gaze: Tensor, paths: Tensor, view: View, depth: Tensor
) -> FaceLabels:
    """The labels of a face.

    Args:
        mesh: Where its landmarks lie.
        surface: Its surface in the head's axes, shape (S, 3).
        eye_points: Of both eyes in the head's axes, shape (2, 28, 3).
        gaze: Of both eyes in the head, radians, shape (2, 2).
        paths: Of the jaw in the head's axes, shape (17, STEPS, 3).
        view: Camera and pose.
        depth: What was drawn, shape (R, R) mm.
    """
    points = mesh.landmarks.on(surface)
    landmarks, eyes = view.to_image(points), view.to_image(eye_points)
    in_camera, eyes_in_camera = view.to_camera(points), view.to_camera(eye_points)
    seen_eyes = seen_points(eyes_in_camera.view(-1, 3), eyes.view(-1, 2), depth, EYE_SLACK)
    return FaceLabels(
        landmarks=landmarks,
        contour=torch.cat((visible_contour(paths, view), landmarks[JAW.stop :])),
        points=in_camera,
        visible=seen_points(in_camera, landmarks, depth, FACE_SLACK),
        eyes=eyes,
        eye_points=eyes_in_camera,
        eyes_visible=seen_eyes.view(2, 28),
        gaze=torch.stack([view.rotation @ gaze_vector(look) for look in gaze]),
        rotation=view.rotation,
        translation=view.translation,
        camera=torch.tensor([view.focal, *view.center.tolist()]),
    )
