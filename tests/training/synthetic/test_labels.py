"""Labels of rendered faces: the jaw on the visible contour, what is hidden, rings of the eyes in OpenFace's order."""

from __future__ import annotations

import math

import torch

from clnf_torch.training.synthetic.eyeball_mesh import IRIS_ANGLES, PUPIL_ANGLES, ring_points
from clnf_torch.training.synthetic.eyelids import Eyeball
from clnf_torch.training.synthetic.head_model import rotation_about
from clnf_torch.training.synthetic.labels import seen_points, visible_contour
from clnf_torch.training.synthetic.person import gaze_rotation, gaze_vector
from clnf_torch.training.synthetic.scene import View

AHEAD = View(
    rotation=torch.eye(3), translation=torch.tensor([0.0, 0, 1000]), focal=1000.0, center=torch.tensor([50.0, 50])
)


def bowl_paths() -> torch.Tensor:
    """Paths (17, 10, 3) over a ball of 80 mm from its left edge over its lowest point to its right edge, inwards."""
    turn = torch.linspace(math.pi, 0, 17)
    edge = torch.stack((turn.cos(), turn.sin(), torch.zeros(17)), 1)
    bend = torch.linspace(0, 1.2, 10)[:, None]
    return 80 * (edge[:, None] * bend.cos() - torch.tensor([0.0, 0, 1]) * bend.sin())


def test_the_contour_of_a_ball_stays_on_its_outline_when_it_turns():
    paths = bowl_paths()
    for yaw in (0.0, -0.5, 0.5):
        view = View(rotation=rotation_about(1, yaw), translation=AHEAD.translation, focal=1000.0, center=AHEAD.center)
        far = visible_contour(paths, view)[[0, 16]] - 50
        assert far[:, 0].abs().amin() > 68 and far[:, 0].abs().amax() < 82


def test_the_contour_is_the_landmark_where_the_face_looks_ahead():
    found, expected = visible_contour(bowl_paths(), AHEAD), AHEAD.to_image(bowl_paths()[:, 0])
    # A ball's outline lies a little before its widest circle, as the camera is near
    torch.testing.assert_close(found[[0, 8, 16]], expected[[0, 8, 16]], atol=1.0, rtol=0)


def test_points_behind_what_was_drawn_are_hidden():
    depth = torch.full((40, 40), 500.0)
    depth[:, 20:] = torch.inf
    points = torch.tensor([[0.0, 0, 501], [0, 0, 520], [0, 0, 520], [0, 0, 400]])
    pixels = torch.tensor([[4.0, 4], [4, 4], [15, 4], [30, 4]])
    assert seen_points(points, pixels, depth, slack=3).tolist() == [True, False, True, False]


def test_rings_of_an_eye_lie_on_it_in_openfaces_order():
    eye = Eyeball(center=torch.tensor([30.0, 0, 5]), radius=12.0)
    iris = ring_points(eye, torch.eye(3), 0.5, IRIS_ANGLES)
    torch.testing.assert_close((iris - eye.center).norm(dim=1), torch.full((8,), 12.0))
    away = iris - iris.mean(0)
    # 0 left in the image, 2 up, 4 right; of the pupil 21 down, 23 right, 25 up
    assert away[0, 0] < -5 and away[2, 1] < -5 and away[4, 0] > 5 and away[6, 1] > 5
    pupil = ring_points(eye, torch.eye(3), 0.2, PUPIL_ANGLES)
    away = pupil - pupil.mean(0)
    assert away[1, 1] > 2 and away[3, 0] > 2 and away[5, 1] < -2 and away[7, 0] < -2
    assert away[0, 0] < 0 < away[0, 1]


def test_an_eyeball_turns_to_where_it_looks():
    for gaze in (torch.tensor([0.4, 0.0]), torch.tensor([0.0, 0.3]), torch.tensor([-0.3, -0.2])):
        axis = gaze_rotation(gaze) @ torch.tensor([0.0, 0, -1])
        torch.testing.assert_close(axis, gaze_vector(gaze))
    assert gaze_vector(torch.tensor([0.4, 0.1]))[0] > 0 < gaze_vector(torch.tensor([0.4, 0.1]))[1]
