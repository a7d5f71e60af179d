"""Groups of annotated faces: by the turn of the head and the size of the face, each face once in either."""

from __future__ import annotations

import torch

from clnf_torch.models.pdm import ShapeParams
from clnf_torch.training.evaluation.face_groups import face_groups
from tests.training.heads import make_gaussian


def test_heads_are_grouped_by_yaw_and_size():
    pdm = make_gaussian().pdm()
    yaw = torch.tensor([0.0, 0.35, -0.35, -0.6, 0.9], dtype=torch.float64)
    rotation = torch.stack((torch.zeros(5), yaw, torch.zeros(5)), -1).double()
    scale = torch.tensor([0.1, 0.1, 3.0, 0.1, 3.0], dtype=torch.float64)
    shape = torch.zeros(5, pdm.num_modes, dtype=torch.float64)
    landmarks = pdm.landmarks(ShapeParams(scale, rotation, torch.zeros(5, 2, dtype=torch.float64), shape))
    groups = {name: rows.tolist() for name, rows in face_groups(pdm, landmarks).items()}
    assert groups["yaw 0 to 15 degrees"] == [True, False, False, False, False]
    assert groups["yaw 15 to 30 degrees"] == [False, True, True, False, False]
    assert groups["yaw 30 to 45 degrees"] == [False, False, False, True, False]
    assert groups["yaw from 45 degrees"] == [False, False, False, False, True]
    assert groups["eye distance 0 to 30 px"] == [True, True, False, True, False]
    for what in ("yaw", "eye distance"):
        assert torch.tensor([rows for name, rows in groups.items() if name.startswith(what)]).sum(0).eq(1).all()


def test_faces_are_grouped_by_how_light_their_skin_looks():
    landmarks = torch.zeros(4, 68, 2, dtype=torch.float64) + torch.arange(68)[:, None]
    skin = torch.tensor([-30.0, 20.0, 60.0, torch.nan])
    groups = face_groups(make_gaussian().pdm(), landmarks, skin)
    found = {name: rows.tolist() for name, rows in groups.items() if name.startswith("skin")}
    assert found == {
        "skin angle below 10 degrees": [True, False, False, False],
        "skin angle 10 to 41 degrees": [False, True, False, False],
        "skin angle from 41 degrees": [False, False, True, False],
    }


def test_groups_without_faces_are_left_out():
    pdm = make_gaussian().pdm()
    none = torch.zeros(1, 3, dtype=torch.float64)
    front = ShapeParams(none[:, 0] + 1, none, none[:, :2], torch.zeros(1, pdm.num_modes, dtype=torch.float64))
    assert len(face_groups(pdm, pdm.landmarks(front))) == 2
