"""A landmark model for 68 made-up points whose experts know nothing: its fits end anywhere near their start."""

from __future__ import annotations

import torch

from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.unet import UNet
from clnf_torch.models.pdm import PDM
from tests.training.heads import make_gaussian


def small_pdm() -> PDM:
    shapes = make_gaussian().pdm(0.99)
    return PDM(shapes.mean.detach().float(), shapes.modes.detach().float(), shapes.variances.detach().float())


def untrained_model(seed: int = 6) -> LandmarkModel:
    """One scale of 0.15 pixels per millimetre."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet(68, (4, 8)).fuse_batchnorm()
    seen = torch.ones(1, 68, dtype=torch.bool)
    experts = HeatmapExperts(0.15, torch.zeros(1, 3), seen, torch.ones(1, 68), 48, network)
    return LandmarkModel(small_pdm(), [experts]).eval()
