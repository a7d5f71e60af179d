"""The network of heatmap experts: its size, its blindness to light, and the folding of its normalisations."""

from __future__ import annotations

import torch

from clnf_torch.models.patch_experts.unet import UNet
from tests.factories import make_images, seeded


def make_network(normalised: bool = True) -> UNet:
    """Four sizes, seeded, with statistics that are not those of the beginning."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = UNet(5, (4, 6, 8), normalised).double()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2, generator=seeded(4))
            module.running_var.uniform_(0.5, 2, generator=seeded(5))
            torch.nn.init.normal_(module.weight, 1, 0.2, generator=seeded(6))
    return network.eval()


def test_maps_have_half_the_side():
    assert make_network()(make_images(3, 32, 32)).shape == (3, 5, 16, 16)


def test_light_and_contrast_do_not_matter():
    network, gray = make_network(), make_images(2, 32, 32)
    torch.testing.assert_close(network(0.4 * gray + 30), network(gray))


def test_a_flat_image_gives_finite_scores():
    assert make_network()(torch.full((1, 32, 32), 90.0, dtype=torch.float64)).isfinite().all()


def test_folding_changes_nothing():
    network, gray = make_network(), make_images(2, 32, 32)
    fused = network.fuse_batchnorm()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
    torch.testing.assert_close(fused.double()(gray), network(gray), rtol=1e-6, atol=1e-6)


def test_folding_a_folded_network_changes_nothing():
    network, gray = make_network(normalised=False), make_images(1, 32, 32)
    torch.testing.assert_close(network.fuse_batchnorm().double()(gray), network(gray), rtol=1e-6, atol=1e-6)
