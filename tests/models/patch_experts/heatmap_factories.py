"""Heatmap experts whose maps are known: each landmark's probability lies on a spot of the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.mesh import MeshExperts, MeshNetwork
from clnf_torch.models.patch_experts.unet import UNet
from clnf_torch.models.pdm import PDM
from tests.factories import N, make_pdm


class Brightest(nn.Module):
    """Scores of every landmark alike: high where the image is bright."""

    def forward(self, gray: Tensor) -> Tensor:
        """Every second pixel, times a factor."""
        return (0.05 * gray[:, None, ::2, ::2]).expand(-1, N, -1, -1)


def make_heatmap(scale: float = 0.25, width: int = 64, network: nn.Module | None = None) -> HeatmapExperts:
    """One view, all landmarks visible, float64."""
    visible = torch.ones(1, N, dtype=torch.bool)
    centers, confidence = torch.zeros(1, 3).double(), torch.ones(1, N).double()
    return HeatmapExperts(scale, centers, visible, confidence, width, network or Brightest())


def make_unet_model() -> LandmarkModel:
    """As `make_heatmap_model`, of true networks with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        network = UNet(N, (4, 6), normalised=False).double().requires_grad_(False)
    coarse, fine = make_heatmap(0.25, network=network), make_heatmap(0.5, network=network)
    return LandmarkModel(make_pdm(), [coarse, coarse, fine])


def make_mesh_model() -> LandmarkModel:
    """A small network with random weights, asked twice, float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        network = MeshNetwork(N).double().requires_grad_(False)
    seen, one = torch.ones(1, N, dtype=torch.bool), torch.ones(1, N).double()
    experts = MeshExperts(0.25, torch.zeros(1, 3).double(), seen, one, 64, network)
    return LandmarkModel(make_pdm(), [experts, experts])


def make_heatmap_model(pdm: PDM | None = None) -> LandmarkModel:
    """Coarse experts, asked twice, and fine ones."""
    coarse, fine = make_heatmap(0.25), make_heatmap(0.5)
    return LandmarkModel(pdm or make_pdm(), [coarse, coarse, fine])
