"""Training of heatmap experts: it learns, and it repeats."""

from __future__ import annotations

import torch

from clnf_torch.models.patch_experts.heatmap import UNet
from clnf_torch.training.data.heatmap_samples import FaceDataset, PoseJitter
from clnf_torch.training.heatmap import HeatmapConfig, HeatmapTask
from clnf_torch.training.trainer import Trainer
from tests.training.heads import MIRROR, make_crops, make_gaussian, make_heads

CONFIG = HeatmapConfig(
    scale=0.15,
    width=64,
    widths=(6, 8, 12),
    jitter=PoseJitter(rotation=0.1, scale=0.05, translation=2.0),
    levels=1,
    steps=30,
    batch=4,
    learning_rate=0.3,  # a hundredth of it, while so few steps are taken
    pen_marks=0.2,
)


def make_task(seed: int = 0) -> HeatmapTask:
    """Eight heads of dots."""
    pdm = make_gaussian().pdm()
    params = make_heads(pdm, 8)
    dataset = FaceDataset.of(make_crops(pdm.landmarks(params)), pdm, params, CONFIG.levels)
    return HeatmapTask(CONFIG, dataset, params.rotation[:, 1].float(), MIRROR, seed)


def weights(task: HeatmapTask) -> torch.Tensor:
    return torch.cat([weight.flatten() for weight in task.module.state_dict().values()])


def test_the_loss_falls():
    losses: list[float] = []
    Trainer(make_task()).run(report=lambda *words: losses.append(words[3]))
    assert len(losses) == CONFIG.steps
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_a_seed_repeats_and_another_does_not():
    one, same, other = (make_task(seed) for seed in (0, 0, 1))
    for task in (one, same, other):
        Trainer(task).run(until=4)
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(other))


def test_the_experts_have_averaged_weights():
    task = make_task()
    Trainer(task).run(until=3)
    network = UNet(68, CONFIG.widths)
    network.load_state_dict(task.average.values)
    expected, found = network.folded().state_dict(), task.experts().state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not torch.equal(torch.cat([value.flatten() for value in task.average.values.values()]), weights(task))


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Trainer(make_task()).run(until=1)
    assert torch.equal(torch.rand(3), expected)
