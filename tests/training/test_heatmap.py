"""Training of heatmap experts: it learns, it repeats, and it goes on where it was stopped."""

from __future__ import annotations

import torch

from clnf_torch.training.data.heatmap_samples import FaceDataset, PoseJitter
from clnf_torch.training.heatmap import HeatmapConfig, HeatmapTraining
from tests.training.heads import MIRROR, make_crops, make_gaussian, make_heads

CONFIG = HeatmapConfig(
    scale=0.15,
    width=64,
    widths=(6, 8, 12),
    aim=PoseJitter(turn=0.1, size=0.05, shift=2.0),
    levels=1,
    steps=30,
    batch=4,
    rate=0.3,  # a hundredth of it, while so few steps are taken
    marked=0.2,
)


def make_training(seed: int = 0) -> HeatmapTraining:
    """Eight heads of dots."""
    pdm = make_gaussian().pdm()
    params = make_heads(pdm, 8)
    stage = FaceDataset.of(make_crops(pdm.landmarks(params)), pdm, params, CONFIG.levels)
    return HeatmapTraining(CONFIG, stage, params.rotation[:, 1].float(), MIRROR, seed)


def weights(training: HeatmapTraining) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in training.network.state_dict().values()])


def test_the_loss_falls():
    losses: list[float] = []
    make_training().run(report=lambda _, loss: losses.append(loss))
    assert len(losses) == CONFIG.steps
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_a_seed_repeats_and_another_does_not():
    one, same, other = (make_training(seed) for seed in (0, 0, 1))
    for training in (one, same, other):
        training.run(4)
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(other))


def test_a_stopped_training_goes_on(tmp_path):
    whole, begun, resumed = make_training(), make_training(), make_training()
    whole.run(6)
    begun.run(3)
    torch.save(begun.state(), tmp_path / "state.pt")
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    resumed.run(6)
    assert resumed.step == 6 and torch.equal(weights(whole), weights(resumed))
    first, second = (training.experts().state_dict() for training in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make_training().run(1)
    assert torch.equal(torch.rand(3), expected)
