"""The validator's network: its layers as a bundle holds them give the scores that were trained."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.detection.layers import build_network
from clnf_torch.training.validator_network import layers_of, make_network


def test_layers_of_a_bundle_give_the_same_scores(rng):
    network = make_network(19, (3, 4, 5), hidden=6, bins=7).half().float()
    images = torch.randn(4, 1, 19, 19, generator=rng)
    layers = layers_of(network)
    assert [layer["kind"] for layer in layers] == [
        *("conv", "relu", "max_pool", "conv", "relu", "max_pool", "conv", "relu", "linear", "relu", "linear"),
    ]
    assert layers[0]["weight"].shape == (3, 1, 5, 5) and layers[3]["weight"].shape == (4, 3, 3, 3)
    assert all(layer["weight"].dtype == torch.float16 for layer in layers if "weight" in layer)
    with torch.no_grad():
        scores = network(images)
    assert scores.shape == (4, 7)
    torch.testing.assert_close(build_network(layers)(images), scores)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="leave nothing"):
        make_network(12, (2, 2, 2, 2), hidden=3, bins=4)
