"""Training of heatmap experts: the loss is a Kullback-Leibler divergence, it falls, and seeds repeat."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.models.patch_experts.heatmap_network import HeatmapNetwork
from clnf_torch.models.patch_experts.mesh import MeshNetwork
from clnf_torch.models.patch_experts.unet import UNet
from clnf_torch.training.data.heatmap_samples import FaceDataset, PoseJitter
from clnf_torch.training.heatmap import HeatmapConfig, HeatmapTask, heatmap_loss
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


def make_task(seed: int = 0, config: HeatmapConfig = CONFIG, **networks: HeatmapNetwork) -> HeatmapTask:
    """Eight heads of dots."""
    pdm = make_gaussian().pdm()
    params = make_heads(pdm, 8)
    dataset = FaceDataset.of(make_crops(pdm.landmarks(params)), pdm, params, config.levels)
    return HeatmapTask(config, dataset, params.rotation[:, 1].float(), MIRROR, seed, **networks)


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
    expected, found = network.fuse_batchnorm().state_dict(), task.experts().state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not torch.equal(torch.cat([value.flatten() for value in task.average.values.values()]), weights(task))


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Trainer(make_task()).run(until=1)
    assert torch.equal(torch.rand(3), expected)


def test_training_goes_on_from_a_network():
    first = make_task()
    Trainer(first).run()
    start, second = first.experts(), make_task(seed=1, start=first.experts())
    gray = 100 + 30 * torch.randn(2, CONFIG.width, CONFIG.width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(second.experts()(gray), start(gray))
    Trainer(second).run(until=2)
    assert not torch.equal(second.experts()(gray), start(gray))


def wanted(x: float, y: float, width: float, side: int = 9) -> torch.Tensor:
    """Scores whose softmax is a Gaussian around a point, shape (1, 1, H, H)."""
    steps = torch.arange(side, dtype=torch.float64)
    return (-((steps - x) ** 2 + (steps[:, None] - y) ** 2) / (2 * width**2))[None, None]


def test_the_wanted_map_costs_nothing():
    position = torch.tensor([[[3.3, 5.6]]], dtype=torch.float64)
    loss = heatmap_loss(wanted(3.3, 5.6, 0.8), position, 0.8)
    torch.testing.assert_close(loss, torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-9)
    assert heatmap_loss(wanted(4.3, 5.6, 0.8), position, 0.8) > 0.5
    assert heatmap_loss(wanted(3.3, 5.6, 1.6), position, 0.8) > 0.1


def test_points_outside_do_not_count():
    scores = torch.cat((wanted(2.0, 2.0, 1.0), wanted(6.0, 6.0, 1.0)), 1)
    positions = torch.tensor([[[2.0, 2.0], [40.0, 2.0]]], dtype=torch.float64)
    torch.testing.assert_close(heatmap_loss(scores, positions, 1.0), heatmap_loss(scores[:, :1], positions[:, :1], 1.0))


def test_weights_share_out_the_loss():
    scores = torch.cat((wanted(2.0, 2.0, 1.0), wanted(4.0, 6.0, 1.0)), 1)
    positions = torch.tensor([[[2.0, 3.0], [6.0, 6.0]]], dtype=torch.float64)
    one, other = (heatmap_loss(scores[:, k : k + 1], positions[:, k : k + 1], 1.0) for k in range(2))
    weighted = heatmap_loss(scores, positions, 1.0, weight=torch.tensor([3.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(weighted, (3 * one + other) / 4)


def test_gradcheck(rng):
    scores = torch.randn(2, 3, 5, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    positions = 4 * torch.rand(2, 3, 2, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: heatmap_loss(s, positions, 0.8), (scores,))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_trunk_stays_as_it_was(frozen):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        start = MeshNetwork(68, normalised=True)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    task = make_task(config=replace(CONFIG, mesh=True, widths=(), frozen_trunk=frozen), start=start)
    Trainer(task).run(until=2)
    after = task.module.state_dict()
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed >= {"up", "head"}
    assert changed.isdisjoint(MeshNetwork.trunk_layers) == frozen
